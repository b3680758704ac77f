"""Runs with an adapter: small files, exact resuming, the same answers from saved files, a start from another run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dinotune import api, config
from dinotune.build import build_model
from dinotune.checkpoints import load_model, read_checkpoint, write_checkpoint
from dinotune.errors import WeightsError
from dinotune.training.initialization import initialize
from dinotune.training.keeper import RunKeeper
from dinotune.training.preparation import prepare
from tests.adapters.kinds import ADAPTERS, randomise
from tests.test_checkpoints import LABELS, description_of, write_snapshot
from tests.training.small_runs import assert_same_runs, assert_same_tensors, changed, run_state

On = Callable[..., config.Experiment]
LORA = "adapter={kind: lora, rank: 2, dropout: 0.2, blocks: [1, 2]}"


@pytest.fixture(scope="module")
def on(small_experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> On:
    """The small experiment on the frozen backbone of a weight file (three blocks of width 64), with changes."""
    snapshot = write_snapshot(tmp_path_factory.mktemp("snapshot") / "tiny")

    def change(*overrides: str) -> config.Experiment:
        return changed(small_experiment, f"backbone={{id: {snapshot}, trainable: none}}", *overrides)

    return change


@pytest.fixture(scope="module")
def lora_run(on: On, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run with LoRA, dropout and averaged weights; tests must not change it."""
    return api.train(on(LORA, "training.ema_decay=0.9"), out=tmp_path_factory.mktemp("lora") / "run").folder


def as_setting(adapter: str) -> str:
    return f"adapter={json.dumps(ADAPTERS[adapter])}"


def test_files_hold_adapter_and_head_alone(lora_run: Path) -> None:
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    own = {
        f"backbone.encoder.blocks.{block}.{layer}.lora_{half}.default.weight"
        for block in (1, 2)
        for layer in layers
        for half in "AB"
    }
    for file in (lora_run / "checkpoints").iterdir():
        state, description = read_checkpoint(file)
        assert {name for name in state if not name.startswith("head.")} == own
        assert description.backbone_sha256 is not None
        if file.suffix == ".safetensors":
            assert file.stat().st_size < sum(tensor.nbytes for tensor in state.values()) + 20_000
    assert all(state[name].any() for name in own), "all of it has learned"


def test_the_run_says_how_much_learns_where(on: On) -> None:
    line = next(text for text in prepare(on(LORA), check=False).opening if text.startswith("parameters:"))
    model, _ = build_model(on(LORA), LABELS)
    learns = 2 * 2 * (64 + 192 + 64 + 64 + 64 + 256 + 256 + 64)
    assert line.startswith(f"parameters: backbone 199,808 (0 learn), adapter {learns:,}, head ")
    assert sum(p.numel() for p in model.backbone.parameters()) == 199_808 + learns
    random = on("backbone={id: tiny-dinov3, tiny: {width: 32, depth: 2}}", "adapter=norm_bias")
    line = next(text for text in prepare(random, check=False).opening if text.startswith("parameters:"))
    assert "adapter " in line
    assert "the backbone's random weights never learn" in line


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_saved_model_says_the_same(on: On, tmp_path: Path, adapter: str) -> None:
    experiment = on(as_setting(adapter), "head.score_threshold=0")
    model, report = build_model(experiment, LABELS)
    randomise(model.backbone)
    file = tmp_path / "model.safetensors"
    write_checkpoint(file, model, description_of(experiment, report.sha256))
    loaded, _ = load_model(file)
    pictures = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model.eval()(pictures), loaded(pictures)
        boxes, others = model.predict(pictures), loaded.predict(pictures)
    assert torch.equal(ours.maps[0], theirs.maps[0])
    assert torch.equal(boxes.scores, others.scores)
    own = {f"backbone.{name}" for name, _ in model.backbone.adapter_parameters()}
    state, description = read_checkpoint(file)
    assert own <= state.keys()
    gone = min(own)
    kept = {name: tensor for name, tensor in state.items() if name != gone}
    save_file(kept, file, {"dinotune": json.dumps(description.to_json())})
    with pytest.raises(WeightsError, match=rf"missing \['{gone}'\], unexpected nothing"):
        load_model(file)


def test_another_adapter_than_the_files_is_named(on: On, tmp_path: Path) -> None:
    experiment = on(LORA)
    model, report = build_model(experiment, LABELS)
    write_checkpoint(tmp_path / "a.safetensors", model, description_of(on("adapter=frozen"), report.sha256))
    with pytest.raises(
        WeightsError, match=r"missing nothing, unexpected \['backbone.encoder.blocks.1.attn.proj.lora_A"
    ):
        load_model(tmp_path / "a.safetensors")


def cut_off(experiment: config.Experiment, out: Path) -> None:
    """Train until a power cut after the ninth batch."""
    batches = iter(range(8))
    original = RunKeeper.on_train_batch_end

    def ending(self: RunKeeper, *arguments: Any) -> None:
        original(self, *arguments)
        if next(batches, None) is None:
            raise OSError("power cut")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunKeeper, "on_train_batch_end", ending)
        with pytest.raises(OSError, match="power cut"):
            api.train(experiment, out=out)


def test_a_run_that_was_cut_off_and_resumed_is_the_same(on: On, lora_run: Path, tmp_path: Path) -> None:
    """Dropout of LoRA is drawn per step; the end comes one batch after a checkpoint."""
    killed = tmp_path / "killed"
    cut_off(on(LORA, "training.ema_decay=0.9"), killed)
    assert run_state(killed)["next_batch"] == 2
    api.resume(killed)
    assert_same_runs(lora_run, killed)


def test_statistics_of_daga_are_in_the_files_and_resumed(on: On, tmp_path: Path) -> None:
    """They follow the pictures, not the gradients, so the running mean of the weights has none of its own."""
    experiment = on("adapter={kind: daga, blocks: [1]}", "training.ema_decay=0.9")
    whole, killed = api.train(experiment, out=tmp_path / "whole").folder, tmp_path / "killed"
    cut_off(experiment, killed)
    api.resume(killed)
    assert_same_runs(whole, killed)
    for file in (whole / "checkpoints").iterdir():
        state, _ = read_checkpoint(file)
        loaded = load_model(file)[0].state_dict()
        for norm in ("1", "4"):
            mean, spread = (f"backbone.after_blocks.encoder.{norm}.running_{name}" for name in ("mean", "var"))
            assert state[mean].any(), "begins as zeros"
            assert not torch.equal(state[spread], torch.ones_like(state[spread]))
            assert_same_tensors({name: state[name] for name in (mean, spread)}, {n: loaded[n] for n in (mean, spread)})
    assert api.evaluate(whole, out=tmp_path)["AP"] == json.loads((whole / "metrics.json").read_text())["AP"]


def test_evaluation_and_merging_from_the_file_give_what_the_run_found(
    lora_run: Path, shapes: Path, tmp_path: Path
) -> None:
    stored = json.loads((lora_run / "metrics.json").read_text())
    assert api.evaluate(lora_run, out=tmp_path)["AP"] == stored["AP"]
    picture = min((shapes / "images").rglob("*.*"))
    predictor = api.load(lora_run, device="cpu")
    before = predictor.predict(picture, threshold=0)
    predictor.merge_adapter()
    after = predictor.predict(picture, threshold=0)
    assert len(before) == len(after) > 0
    assert torch.allclose(torch.tensor(before.xyxy), torch.tensor(after.xyxy), atol=1e-2)
    assert not any("lora" in name for name in predictor.model.state_dict())


def test_a_later_stage_joins_the_adapter(on: On, tmp_path: Path) -> None:
    """The block that learns from the second epoch on is in the files; the adapter learned before."""
    stages = "backbone.trainable=[{blocks: 1, from_epoch: 1, learning_rate: 1e-4}]"
    run = api.train(on(LORA, stages, "data.train.limit=8"), out=tmp_path / "run").folder
    state, _ = read_checkpoint(run / "checkpoints" / "last.ckpt")
    names = {name.removeprefix("backbone.encoder.") for name in state if name.startswith("backbone.")}
    assert {name for name in names if "lora" not in name and name.startswith("blocks")} >= {
        "blocks.2.attn.qkv.base_layer.weight",
        "blocks.2.norm1.weight",
    }
    assert not any(name.startswith("blocks.1.") and "lora" not in name for name in names)
    log = (run / "train.log").read_text()
    assert "backbone 199,808 (50,176 learn), adapter 4,096, head " in log
    assert "epoch 2: 50,176 parameters of the backbone learn from here on" in log


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_initialize_from_takes_the_adapter(on: On, tmp_path: Path, adapter: str) -> None:
    experiment = on(as_setting(adapter), "seed=3")
    theirs, report = build_model(experiment, LABELS)
    randomise(theirs.backbone)
    write_checkpoint(tmp_path / "source.safetensors", theirs, description_of(experiment, report.sha256))
    ours, _ = build_model(on(as_setting(adapter)), LABELS)
    said = initialize(ours, LABELS, tmp_path / "source.safetensors")
    assert_same_tensors(dict(ours.state_dict()), dict(theirs.state_dict()))
    assert "left as they were" not in said
    other, _ = build_model(on("adapter={kind: lora, rank: 3, layers: [proj], blocks: 1}"), LABELS)
    said = initialize(other, LABELS, tmp_path / "source.safetensors")
    wanted = "other shapes (4x64 there, 3x64 here)" if "lora" in ADAPTERS[adapter]["kind"] else "not in the file"
    assert f"left as they were, {wanted}: backbone.encoder.blocks.2.attn.proj.lora_A" in said


@pytest.mark.parametrize("theirs", ["daga, variant: v1, hidden: 16", "daga", "bottleneck"])
def test_an_adapter_never_takes_the_layers_of_another_that_have_its_shapes(on: On, tmp_path: Path, theirs: str) -> None:
    """What a bottleneck adds counts ten times as much without DAGA's gates."""
    experiment = on(f"adapter={{kind: {theirs}}}")
    source, report = build_model(experiment, LABELS)
    randomise(source.backbone)
    write_checkpoint(tmp_path / "source.safetensors", source, description_of(experiment, report.sha256))
    for ours in {"daga, variant: v1, hidden: 16", "daga", "bottleneck"} - {theirs}:
        model, _ = build_model(on(f"adapter={{kind: {ours}}}"), LABELS)
        before = {
            n: p.clone() for n, p in model.backbone.adapter_parameters() if not n.startswith("after_blocks.encoder")
        }
        initialize(model, LABELS, tmp_path / "source.safetensors")
        assert_same_tensors({n: p for n, p in model.backbone.adapter_parameters() if n in before}, before)


def test_lora_takes_the_weights_below_it_from_a_run_without(
    small_experiment: config.Experiment, tmp_path: Path
) -> None:
    """A random backbone that has learned, then LoRA on it: the layers have longer names there."""
    theirs, _ = build_model(changed(small_experiment, "seed=5"), LABELS)
    write_checkpoint(tmp_path / "a.safetensors", theirs, description_of(small_experiment, None))
    ours, _ = build_model(changed(small_experiment, "backbone.trainable=none", "adapter=lora"), LABELS)
    said = initialize(ours, LABELS, tmp_path / "a.safetensors")
    assert "left as they were, not in the file: backbone.encoder.blocks.0.attn.qkv.lora_A" in said
    assert "in the file, but not here" not in said
    ours.merge_adapter()
    assert_same_tensors(dict(ours.state_dict()), dict(theirs.state_dict()))
