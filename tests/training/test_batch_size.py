"""`batch_size: auto`: the number fits the memory, is stored, and finding it leaves no trace in the run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dinotune import api, config
from dinotune.build import build_model
from dinotune.config.loading import load_experiment
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.errors import SettingsError
from dinotune.heap import freed_memory_kept
from dinotune.training import batch_size
from dinotune.training.batch_size import MOST_ON_CPU, TrialSteps, find_batch_size
from dinotune.training.memory import _free_in_groups, free_bytes, peak_bytes, reset_peak
from tests.training.small_runs import assert_same_runs, assert_same_tensors, changed

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def train(small_experiment: config.Experiment) -> Records:
    return read_records(small_experiment.data, "train", seed=0)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float, float], list[int]]:
    """Lets a step take `fixed` + `each` per picture, with so much free in all; returns the sizes that were tried."""

    def install(fixed: float, each: float, free: float) -> list[int]:
        tried: list[int] = []

        def peak(_: TrialSteps, pictures: int) -> float:
            tried.append(pictures)
            return fixed + each * pictures

        monkeypatch.setattr(TrialSteps, "peak", peak)
        monkeypatch.setattr(batch_size, "free_bytes", lambda _: free)
        return tried

    return install


def found(experiment: config.Experiment, train: Records, device: torch.device = CPU) -> tuple[int, str]:
    return find_batch_size(build_model(experiment, train.labels)[0], experiment, train, device, "fp32")


def test_a_run_is_the_same_as_with_the_number(
    small_experiment: config.Experiment, finished_run: Path, tmp_path: Path
) -> None:
    """A quarter of 18 pictures is the limit, in powers of two."""
    run = api.train(changed(small_experiment, "training.batch_size=auto"), out=tmp_path / "run").folder
    assert load_experiment(run / "experiment.yaml", environ={}).experiment == small_experiment
    assert "batch size: 4 (auto: " in (run / "train.log").read_text()
    assert_same_runs(finished_run, run)


def test_model_and_random_state_stay_as_they_were(small_experiment: config.Experiment, train: Records) -> None:
    stages = "backbone.trainable=[{blocks: 1}, {blocks: all, from_epoch: 1}]"
    experiment = changed(small_experiment, stages, "backbone.blocks=[0, 1]", "backbone.tap_norm=batch_norm")
    model, _ = build_model(experiment, train.labels)
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    torch.manual_seed(3)
    random = torch.get_rng_state()
    find_batch_size(model, experiment, train, CPU, "bf16")
    assert_same_tensors(before, dict(model.state_dict()))
    assert torch.equal(random, torch.get_rng_state())
    assert not model.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == learning
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_largest_input_the_largest_stage_and_the_busiest_picture_are_tried(
    small_experiment: config.Experiment, train: Records
) -> None:
    stages = "backbone.trainable=[{blocks: all, from_epoch: 1}, {blocks: 1, from_epoch: 99}]"
    experiment = changed(small_experiment, stages, "data.augmentation.scale_jitter=[0.5, 2]")
    model, _ = build_model(experiment, train.labels)
    steps = TrialSteps(model, experiment, train, CPU, "fp32")
    assert sorted(steps.image_hw) == [128, 192]
    assert len(steps.busiest.boxes) == np.diff(train.offsets).max()
    assert (steps.busiest.boxes[:, 2:] > steps.busiest.boxes[:, :2]).all()
    assert steps.busiest.boxes.max() > 64
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())


def test_no_boxes_at_all(small_experiment: config.Experiment, train: Records) -> None:
    model, _ = build_model(small_experiment, train.labels)
    empty = Records.from_images("empty", train.labels, [train[i] for i in range(4)])
    no_boxes = {name: getattr(empty, name)[:0] for name in ("boxes", "box_labels", "crowd", "areas")}
    bare = Records(**{**vars(empty), **no_boxes, "offsets": np.zeros(5, np.int64)})
    assert find_batch_size(model, small_experiment, bare, CPU, "fp32")[0] == 1


@pytest.mark.parametrize(
    ("fixed", "each", "free", "size"),
    [
        (1, 1, 100, 16),
        (1, 1, 12.5, 8),
        (1, 1, 11.2, 4),
        (1, 4, 2, 1),
        (1, 0, 2, 16),
    ],
)
def test_the_cpu_is_extrapolated_from_one_and_two(
    small_experiment: config.Experiment,
    train: Records,
    memory: Callable[[float, float, float], list[int]],
    fixed: float,
    each: float,
    free: float,
    size: int,
) -> None:
    """Four fifths of what is free may be taken: 9 of 11.25 GiB for eight pictures of 1 GiB and a model of 1 GiB."""
    many = train.select(np.arange(100) % len(train))
    tried = memory(fixed * GIB, each * GIB, free * GIB)
    chosen, said = found(small_experiment, many)
    assert (chosen, tried) == (size, [1, 2])
    needed = fixed + size * each
    height, width = 80, 128
    assert said == (
        f"batch size: {size} (auto: {needed:.1f} of {0.8 * free:.1f} GiB allowed at {height} x {width}; "
        f"at most {MOST_ON_CPU})"
    )


@pytest.mark.parametrize(
    ("most", "fits", "allowed", "size", "tried"),
    [
        (100, 100, 100, 64, [1, 2, 4, 8, 16, 32, 64]),
        (7, 100, 100, 4, [1, 2, 4]),
        (100, 9, 100, 8, [1, 2, 4, 8, 16]),
        (100, 100, 5, 4, [1, 2, 4, 8]),
        (100, 1, 100, 1, [1, 2]),
    ],
    ids=["doubles", "few pictures", "out of memory", "over the margin", "one fits"],
)
def test_a_gpu_is_tried_until_memory_is_short(
    most: int, fits: int, allowed: float, size: int, tried: list[int]
) -> None:
    done = []

    class Steps:
        def peak(self, pictures: int) -> int:
            done.append(pictures)
            if pictures > fits:
                raise torch.OutOfMemoryError
            return pictures

    assert batch_size._grow(Steps(), most, allowed) == (size, float(size))  # type: ignore[arg-type]
    assert done == tried


def test_what_cannot_be_measured_is_refused(small_experiment: config.Experiment, train: Records) -> None:
    with pytest.raises(SettingsError, match=r"training\.batch_size: memory cannot be measured on mps; give a number"):
        found(small_experiment, train, torch.device("mps"))


def test_the_peak_is_measured_anew() -> None:
    _measure_twice()
    with freed_memory_kept(CPU):
        _measure_twice()
    _measure_twice()


def _measure_twice() -> None:
    reset_peak(CPU)
    before = peak_bytes(CPU)
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    held = peak_bytes(CPU)
    assert held - before > 50 * 2**20
    del block
    reset_peak(CPU)
    assert peak_bytes(CPU) < held - 50 * 2**20
    assert free_bytes(CPU) > before


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, []),
        ({"memory.max": "max", "memory.current": "5"}, []),
        ({"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 500\ninactive_file 100\n"}, [400]),
        ({"memory.max": "1000", "memory.current": "1700", "memory.stat": "anon 5\n"}, [0]),
        (
            {
                "memory/memory.limit_in_bytes": "2000",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "cache 9\ninactive_file 9\ntotal_inactive_file 99\n",
            },
            [1509],
        ),
    ],
    ids=["no container", "no limit", "limit", "over the limit", "first version"],
)
def test_limits_of_containers(tmp_path: Path, files: dict[str, str], left: list[int]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _free_in_groups(tmp_path)[1:] == left


@pytest.mark.gpu
def test_on_a_gpu(small_experiment: config.Experiment, tmp_path: Path) -> None:
    automatic = changed(small_experiment, "device=cuda", "training.batch_size=auto")
    run = api.train(automatic, out=tmp_path / "run").folder
    assert load_experiment(run / "experiment.yaml", environ={}).experiment.training.batch_size == 4


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("linear_segmenter", ["head.norm=group"]),
        ("instance_mask_decoder", ["head.channels=32", "head.attention_heads=4"]),
        ("mask_decoder", ["head.channels=32", "head.attention_heads=4"]),
    ],
)
def test_trial_steps_have_the_labels_of_every_task(shapes: Path, recipe: str, words: list[str]) -> None:
    small = ["backbone=tiny-dinov3", "backbone.blocks=last", "data.size=64", f"data={shapes}"]
    experiment = load_experiment(recipe, (), [*small, *words], {}).experiment
    train = read_records(experiment.data, "train", seed=0, needs=experiment.needs)
    model, _ = build_model(experiment, train.labels)
    TrialSteps(model, experiment, train, CPU, "fp32")._step(2)
