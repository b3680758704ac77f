"""Training and its evaluation run on each annotation format."""

from pathlib import Path

import pytest

from dinotune import api, config
from dinotune.data.formats import HOLDS, WRITERS, detect_format
from dinotune.data.splits import read_records


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if HOLDS[kind] == "boxes"])
def test_training_runs(small_experiment: config.Experiment, tmp_path: Path, kind: str) -> None:
    splits = {split: read_records(small_experiment.data, split, seed=0) for split in ("train", "val")}
    WRITERS[kind](splits, tmp_path / "set", "link")
    assert detect_format(tmp_path / "set") == kind
    data = small_experiment.data.model_copy(
        update={"root": tmp_path / "set", "train": config.Split(limit=8), "val": config.Split(limit=3)}
    )
    training = small_experiment.training.model_copy(update={"epochs": 1})
    experiment = small_experiment.model_copy(update={"data": data, "training": training})
    run = api.train(experiment, out=tmp_path / "run")
    assert run.metrics["images"] == 3
    detector = api.load(run.folder, device="cpu")
    assert sorted(detector.labels.names) == sorted(splits["train"].labels.names)
