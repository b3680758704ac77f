"""The public names: exactly these, each of them there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import dinotune

ROOT = Path(__file__).parents[2]
VERBS = {
    "build_head",
    "check",
    "convert",
    "train",
    "load",
    "evaluate",
    "resume",
    "sweep",
    "probe",
    "load_backbone",
    "read_image",
}
OWN = {"Adapter", "ClassRows", "ClassScores", "Detections", "Features", "Head", "Losses", "Targets"}
"""What parts of the user's own are written with."""
SETTINGS = {
    "Adam",
    "Adamw",
    "Augmentation",
    "Backbone",
    "Bottleneck",
    "Cosine",
    "CrossEntropy",
    "DeformableDetr",
    "Detr",
    "Daga",
    "Data",
    "EarlyStopping",
    "Evaluation",
    "Experiment",
    "FasterRcnn",
    "Focal",
    "Frozen",
    "Goal",
    "IaBce",
    "InstanceMaskDecoder",
    "LinearClassifier",
    "LinearSegmenter",
    "Lora",
    "MaskDecoder",
    "NormBias",
    "OwnAdapter",
    "OwnHead",
    "PlainDetr",
    "Prediction",
    "Probe",
    "Sgd",
    "Split",
    "Steps",
    "TinyShape",
    "TrainableStage",
    "Training",
}


def test_public_names_are_exactly_these() -> None:
    assert set(dinotune.__all__) == VERBS | OWN | SETTINGS | {"DinotuneError", "__version__"}
    assert dir(dinotune) == sorted(dinotune.__all__)


@pytest.mark.parametrize("name", dinotune.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(dinotune, name).__doc__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="'dinotune' has no attribute 'Detector'"):
        _ = dinotune.Detector


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dinotune.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", dinotune.__version__)


def test_every_dependency_is_pinned_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    direct = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=!]", requirement)[0].lower() for requirement in direct}
    pinned = {pin.split("==")[0] for pin in project["tool"]["uv"]["constraint-dependencies"]}
    explained = (ROOT / "docs/decisions/0002-dependencies.md").read_text(encoding="utf-8").lower()
    assert names - pinned == set()
    assert {name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", explained)} == set()
