"""Files hold what was trained and nothing frozen, come back bit for bit, and refuse what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dinotune import api, config
from dinotune.backbones.load import build_backbone
from dinotune.build import build_model
from dinotune.checkpoints import Description, load_model, read_checkpoint, write_checkpoint
from dinotune.data.records import LabelSet
from dinotune.errors import DinotuneError, WeightsError
from dinotune.files import find_checkpoint
from dinotune.types import Detections
from tests.training.small_runs import changed, last_state

SHORT = ("data.train.limit=4", "training.epochs=1", "training.checkpoint_every_steps=none")
LABELS = LabelSet(("cup", "dog"), (47, 18))


def write_snapshot(folder: Path, seed: int = 0) -> Path:
    """Weights of a small DINOv3 as timm would store them."""
    tiny = config.Backbone.model_validate({"id": "tiny-dinov3", "tiny": {"width": 64, "depth": 3}})
    backbone, _ = build_backbone(tiny, seed=seed)
    encoder = getattr(backbone, "encoder")  # noqa: B009
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, folder / "model.safetensors"
    )
    arguments = {"embed_dim": 64, "depth": 3, "num_heads": encoder.blocks[0].attn.num_heads}
    statistics = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    settings = {"architecture": "vit_small_patch16_dinov3_qkvb", "model_args": arguments, "pretrained_cfg": statistics}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_snapshot(tmp_path_factory.mktemp("snapshot") / "tiny")


@pytest.fixture
def on_snapshot(small_experiment: config.Experiment, snapshot: Path) -> Callable[..., config.Experiment]:
    """The small experiment on the snapshot's backbone, with further changes."""

    def change(*overrides: str) -> config.Experiment:
        return changed(small_experiment, f"backbone={{id: {snapshot}, trainable: none}}", *overrides)

    return change


def description_of(experiment: config.Experiment, sha256: str | None) -> Description:
    return Description(experiment, LABELS, sha256, {"cup": 0.25, "dog": None}, 3, {"AP": 0.5, "APs": None})


@pytest.mark.parametrize(
    ("trainable", "learning"),
    [
        ("none", ()),
        ("1", ("blocks.2.", "norm.")),
        ("[{blocks: 1}, {blocks: [1], from_epoch: 9}]", ("blocks.1.", "blocks.2.", "norm.")),
    ],
)
def test_frozen_weights_stay_out_of_every_file(
    on_snapshot: Callable[..., config.Experiment],
    snapshot: Path,
    tmp_path: Path,
    trainable: str,
    learning: tuple[str, ...],
) -> None:
    """What learns only in a later stage is in as well."""
    run = api.train(on_snapshot(f"backbone.trainable={trainable}", *SHORT), out=tmp_path / "run").folder
    frozen = load_file(snapshot / "model.safetensors")
    model, _ = load_model(run / "checkpoints" / "best_AP.safetensors")
    expected = {name for name in model.state_dict() if name.startswith("head.")}
    expected |= {f"backbone.encoder.{name}" for name in frozen if name.startswith(learning)}
    sizes = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    for file in sorted((run / "checkpoints").iterdir()):
        state, description = read_checkpoint(file)
        assert state.keys() == expected, file.name
        assert description.backbone_sha256 == model.backbone.identity.sha256
        if file.suffix == ".safetensors":
            assert 0 < file.stat().st_size - sum(sizes[name] for name in expected) < 20_000
    moments = last_state(run)["optimizer_states"][0]["state"]
    assert sum(state["exp_avg"].nbytes for state in moments.values()) <= sum(sizes[name] for name in expected)


def test_random_backbones_are_in_the_file_whole(finished_run: Path, small_experiment: config.Experiment) -> None:
    state, description = read_checkpoint(finished_run / "checkpoints" / "best_loss.safetensors")
    model, _ = build_model(small_experiment, description.labels)
    assert state.keys() == model.state_dict().keys()
    assert any(name.startswith("backbone.encoder.patch_embed") for name in state)
    assert description.backbone_sha256 is None


@pytest.mark.parametrize("trainable", ["none", "1"])
def test_a_saved_model_predicts_the_same(
    on_snapshot: Callable[..., config.Experiment], tmp_path: Path, trainable: str
) -> None:
    experiment = on_snapshot(f"backbone.trainable={trainable}", "head.score_threshold=0")
    model, report = build_model(experiment, LABELS)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    description = description_of(experiment, report.sha256)
    write_checkpoint(tmp_path / "model.safetensors", model, description)
    loaded, read = load_model(tmp_path / "model.safetensors")
    assert read == description
    assert not loaded.training
    images = torch.rand(2, 3, 64, 96, generator=generator)
    with torch.no_grad():
        ours, theirs = model.eval().predict(images), loaded.predict(images)
    assert isinstance(ours, Detections)
    assert isinstance(theirs, Detections)
    assert (ours.labels >= 0).any()
    for first, second in zip(
        (ours.boxes, ours.scores, ours.labels), (theirs.boxes, theirs.scores, theirs.labels), strict=True
    ):
        assert torch.equal(first, second)


def test_other_backbone_weights_are_refused(
    on_snapshot: Callable[..., config.Experiment], snapshot: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(snapshot, tmp_path / "weights")
    run = api.train(on_snapshot(f"backbone.id={moved}", *SHORT), out=tmp_path / "run").folder
    before = read_checkpoint(run / "checkpoints" / "last.ckpt")[1].backbone_sha256
    write_snapshot(moved, seed=1)
    after = build_backbone(config.Backbone(id=str(moved)))[0].identity.sha256
    assert None not in (before, after)
    assert before != after
    for use in (api.load, api.evaluate, lambda folder: api.resume(folder, ["training.epochs=2"])):
        with pytest.raises(
            WeightsError, match=f"trained on backbone weights with sha256 {before}, but .* now has {after}"
        ):
            use(run)
    shutil.rmtree(moved)
    with pytest.raises(WeightsError, match=r"weights does not exist"):
        api.load(run)


def test_every_file_of_a_run_predicts(finished_run: Path, shapes: Path) -> None:
    picture = next((shapes / "images" / "val").iterdir())
    names = ("best_AP.safetensors", "best_loss.safetensors", "epoch_1.safetensors", "epoch_2.safetensors", "last.ckpt")
    files = [finished_run / "checkpoints" / name for name in names]
    assert {path.name for path in (finished_run / "checkpoints").iterdir()} == set(names)
    found = {path.name: api.load(path).predict(picture, threshold=0) for path in [finished_run, *files]}
    assert all(len(detections) for detections in found.values())
    last, best = found["last.ckpt"], found["best_AP.safetensors"]
    assert (last.xyxy == found["epoch_2.safetensors"].xyxy).all()
    assert (found["run"].xyxy == best.xyxy).all()
    assert last.xyxy.shape != best.xyxy.shape or (last.xyxy != best.xyxy).any()


def test_a_run_folder_means_its_best_file(finished_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished_run, tmp_path / "run")
    for name in ("best_AP.safetensors", "best_loss.safetensors", "last.ckpt"):
        assert find_checkpoint(run) == run / "checkpoints" / name
        assert find_checkpoint(run / "checkpoints" / name) == run / "checkpoints" / name
        (run / "checkpoints" / name).unlink()
    for missing in (run, tmp_path / "nowhere", run / "checkpoints" / "last.ckpt"):
        with pytest.raises(DinotuneError, match="neither a checkpoint file nor a run folder with checkpoints/"):
            find_checkpoint(missing)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "text": lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\n" * 4),
    "a picture": lambda file: file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)),
    "foreign safetensors": lambda file: save_file({"weight": torch.zeros(3)}, file),
    "foreign metadata": lambda file: save_file({"weight": torch.zeros(3)}, file, {"dinotune": "[]"}),
    "half a description": lambda file: save_file({"weight": torch.zeros(3)}, file, {"dinotune": '{"epoch": 3'}),
    "foreign pickle": lambda file: torch.save({"state_dict": {}, "epoch": 3}, file),
    "a pickle that runs code": lambda file: torch.save({"state_dict": Path("x")}, file),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["best_AP.safetensors", "last.ckpt"])
def test_damaged_and_foreign_files(
    finished_run: Path, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / name
    shutil.copyfile(finished_run / "checkpoints" / name, file)
    read_checkpoint(file)
    damage(file)
    with pytest.raises(DinotuneError, match=rf"{name}: not a checkpoint of dinotune, or damaged"):
        load_model(file)


def test_tensors_that_do_not_fit_are_named(finished_run: Path, tmp_path: Path) -> None:
    state, description = read_checkpoint(finished_run / "checkpoints" / "best_AP.safetensors")
    gone = next(iter(state))
    state["head.extra"] = state.pop(gone)
    file = tmp_path / "model.safetensors"
    save_file(state, file, {"dinotune": json.dumps(description.to_json())})
    with pytest.raises(WeightsError, match=rf"missing \['{gone}'\], unexpected \['head.extra'\]"):
        load_model(file)
