"""Starting from another model: what fits is taken, classes by name, and everything else is said with its reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dinotune import api, cli, config
from dinotune.build import build_model
from dinotune.checkpoints import Description, read_checkpoint, write_checkpoint
from dinotune.data.records import LabelSet
from dinotune.errors import SettingsError
from dinotune.model import Model
from dinotune.training.initialization import initialize
from tests.test_checkpoints import write_snapshot
from tests.training.small_runs import assert_same_tensors, changed, last_state

PREDICTOR = "head.roi_heads.box_predictor"
CLASS_TENSORS = {f"{PREDICTOR}.{layer}.{kind}" for layer in ("cls_score", "bbox_pred") for kind in ("weight", "bias")}


def labels(*names: str) -> LabelSet:
    return LabelSet(names, tuple(range(1, len(names) + 1)))


BLOOD = labels("RBC", "WBC", "Dust")
Save = Callable[..., Path]


@pytest.fixture
def save(small_experiment: config.Experiment, tmp_path: Path) -> Save:
    """Writes a model of other seed and settings as a file for use."""

    def write(*overrides: str, classes: LabelSet = BLOOD, seed: int = 7) -> Path:
        experiment = changed(small_experiment, f"seed={seed}", *overrides)
        model, report = build_model(experiment, classes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        description = Description(experiment, classes, report.sha256, {}, 0, {})
        write_checkpoint(tmp_path / "source.safetensors", model, description)
        return tmp_path / "source.safetensors"

    return write


def started(experiment: config.Experiment, source: Path, classes: LabelSet, *overrides: str) -> tuple[Model, str]:
    """A fresh model initialised from a file, and the report."""
    model, _ = build_model(changed(experiment, *overrides), classes)
    return model, initialize(model, classes, source)


def test_everything_is_taken_from_an_equal_model(small_experiment: config.Experiment, save: Save) -> None:
    source = save()
    model, report = started(small_experiment, source, BLOOD)
    weights, _ = read_checkpoint(source)
    assert_same_tensors(weights, dict(model.state_dict()))
    count = len(weights)
    assert report == f"initialised from {source}: {count} of {count} tensors\n  classes matched: RBC, WBC, Dust"


def test_classes_are_matched_by_name(small_experiment: config.Experiment, save: Save) -> None:
    """Of RBC, WBC, Dust; here WBC stands first, Platelets is new and Dust unknown."""
    source, ours = save(), labels("WBC", "Platelets", "RBC")
    fresh = {name: tensor.clone() for name, tensor in build_model(small_experiment, ours)[0].state_dict().items()}
    model, report = started(small_experiment, source, ours)
    theirs, own = read_checkpoint(source)[0], model.state_dict()
    for name in CLASS_TENSORS:
        rows = 4 if "bbox" in name else 1
        blocks: list[tuple[Tensor, ...]] = [tensor[name].split(rows) for tensor in (own, theirs, fresh)]
        mine, source_rows, fresh_rows = blocks
        # Background, WBC, Platelets, RBC here; background, RBC, WBC, Dust there.
        expected = (source_rows[0], source_rows[2], fresh_rows[2], source_rows[1])
        assert all(torch.equal(row, other) for row, other in zip(mine, expected, strict=True)), name
    assert_same_tensors(
        {name: tensor for name, tensor in theirs.items() if name not in CLASS_TENSORS},
        {name: tensor for name, tensor in own.items() if name not in CLASS_TENSORS},
    )
    assert "classes matched: WBC, RBC; new: Platelets; left out: Dust" in report
    assert "left as they were" not in report


def test_more_and_fewer_classes(small_experiment: config.Experiment, save: Save) -> None:
    for theirs, ours in ((labels("a", "b"), labels("c", "b", "a", "d")), (labels("c", "b", "a", "d"), labels("a"))):
        source = save(classes=theirs)
        model, _ = started(small_experiment, source, ours)
        bias, before = model.state_dict()[f"{PREDICTOR}.cls_score.bias"], read_checkpoint(source)[0]
        for name in ours.names:
            if name in theirs.names:
                row = before[f"{PREDICTOR}.cls_score.bias"][1 + theirs.names.index(name)]
                assert torch.equal(bias[1 + ours.names.index(name)], row)


def test_no_class_in_common(small_experiment: config.Experiment, save: Save) -> None:
    model, report = started(small_experiment, save(), labels("cat", "dog", "cup"))
    assert "left as they were, no class in common: " in report
    fresh = build_model(small_experiment, labels("cat", "dog", "cup"))[0].state_dict()
    for name in CLASS_TENSORS:
        assert torch.equal(model.state_dict()[name], fresh[name])
        assert name in report


def test_other_shapes_are_named_with_both(small_experiment: config.Experiment, save: Save) -> None:
    source = save("head.hidden=48")
    model, report = started(small_experiment, source, BLOOD)
    changed_names = {f"{PREDICTOR}.cls_score.weight", f"{PREDICTOR}.bbox_pred.weight"} | {
        f"head.roi_heads.box_head.{name}" for name in ("fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias")
    }
    count = len(model.state_dict())
    assert report.startswith(f"initialised from {source}: {count - 6} of {count} tensors\n")
    assert f"other shapes (4x48 there, 4x32 here): {PREDICTOR}.cls_score.weight" in report
    assert "other shapes (48x48 there, 32x32 here): head.roi_heads.box_head.fc7.weight" in report
    fresh, theirs = build_model(small_experiment, BLOOD)[0].state_dict(), read_checkpoint(source)[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (fresh if name in changed_names else theirs)[name]), name


def test_another_backbone_gives_only_its_head(small_experiment: config.Experiment, save: Save) -> None:
    source = save("backbone.id=tiny-dinov2-reg")
    model, report = started(small_experiment, source, BLOOD)
    assert "of another backbone (tiny-dinov2-reg)" in report
    assert "in the file" not in report
    fresh, theirs = build_model(small_experiment, BLOOD)[0].state_dict(), read_checkpoint(source)[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (fresh if name.startswith("backbone.") else theirs)[name]), name


def test_tensors_without_a_counterpart(small_experiment: config.Experiment, save: Save) -> None:
    _, report = started(small_experiment, save("head.stride_factors=[0.5]"), BLOOD)
    assert "left as they were, not in the file: head.pyramid." in report
    _, report = started(small_experiment, save(), BLOOD, "head.stride_factors=[0.5]")
    assert "in the file, but not here or frozen here: head.pyramid." in report


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: None, r"neither a checkpoint file nor a run folder"),
        (lambda file: file.write_text("weights"), "not a checkpoint of dinotune, or damaged"),
        (lambda file: save_file({"weight": torch.zeros(3)}, file), "not a checkpoint of dinotune, or damaged"),
        (lambda file: file.mkdir(), r"neither a checkpoint file nor a run folder"),
    ],
)
def test_wrong_files(
    page: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], object],
    message: str,
) -> None:
    """Said before the run folder is made."""
    source = tmp_path / "wrong.safetensors"
    write(source)
    words = ["train", str(page), "--out", str(tmp_path / "run"), f"training.initialize_from={source}"]
    assert cli.run(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("training.initialize_from: ")
    assert str(source) in error
    assert message in error
    assert not (tmp_path / "run").exists()


def test_nothing_fits(small_experiment: config.Experiment, save: Save) -> None:
    source = save("backbone.id=tiny-dinov2-reg", "head=detr")
    with pytest.raises(
        SettingsError, match=r"nothing in \S+ fits; name a run .*initialize_from=none\n.*0 of \d+ tensors"
    ):
        started(small_experiment, source, labels("cat"))


def test_a_run_starts_from_a_run_and_resumes_without_it(
    small_experiment: config.Experiment, finished_run: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source.safetensors"
    source.write_bytes((finished_run / "checkpoints" / "best_AP.safetensors").read_bytes())
    overrides = ("seed=1", "data.train.limit=4", "training.epochs=1", "training.learning_rate=1e-12")
    experiment = changed(small_experiment, *overrides, f"training.initialize_from={source}", "training.weight_decay=0")
    run = api.train(experiment, out=tmp_path / "run").folder
    weights = {name.removeprefix("model."): tensor for name, tensor in last_state(run)["state_dict"].items()}
    for name, tensor in read_checkpoint(source)[0].items():
        torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-9)
    assert f"initialised from {source}: {len(weights)} of {len(weights)} tensors" in (run / "train.log").read_text()
    source.unlink()
    api.resume(run, ["training.epochs=2"])
    assert len(api.load(run).predict(torch.zeros(64, 64, 3, dtype=torch.uint8).numpy(), threshold=0)) >= 0


def test_trained_blocks_stay_out_of_a_frozen_backbone(
    small_experiment: config.Experiment, save: Save, tmp_path: Path
) -> None:
    """They would be lost with the next checkpoint, which holds no frozen weights; where they learn they are taken."""
    snapshot = write_snapshot(tmp_path / "tiny")
    backbone = f"backbone={{id: {snapshot}, trainable: 1}}"
    source = save(backbone)
    model, report = started(small_experiment, source, BLOOD, backbone)
    assert "in the file" not in report
    theirs = read_checkpoint(source)[0]
    assert any(name.startswith("backbone.encoder.blocks.2.") for name in theirs)
    for name, tensor in theirs.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    frozen, report = started(small_experiment, source, BLOOD, f"backbone={{id: {snapshot}, trainable: none}}")
    fresh = build_model(changed(small_experiment, f"backbone={{id: {snapshot}, trainable: none}}"), BLOOD)[0]
    for name, tensor in fresh.state_dict().items():
        expected = tensor if name.startswith("backbone.") else theirs[name]
        assert torch.equal(frozen.state_dict()[name], expected), name
    assert "in the file, but not here or frozen here: backbone.encoder.blocks.2." in report
