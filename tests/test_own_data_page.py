"""The commands of docs/how-to/own_data.md run one after the other, with settings that make them short."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from dinotune import cli
from dinotune.config.loading import load_experiment
from dinotune.doctor import collect
from tests.doctor.machines import ALL_WELL

PAGE = (Path(__file__).parents[1] / "docs/how-to/own_data.md").read_text(encoding="utf-8")
SHORTER = {
    "new": ["--backbone", "tiny-dinov3"],
    "train": [
        "backbone.tiny.width=32",
        "head.channels=16",
        "data.workers=0",
        "data.train.limit=4",
        "data.val.limit=2",
        "training.epochs=1",
        "device=cpu",
    ],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_commands_run(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(collect, "collect", lambda: ALL_WELL)
    shutil.copytree(shapes, "helmets")
    ran = []
    for line in "".join(blocks("bash")).splitlines():
        program, verb, *rest = shlex.split(line)
        assert program == "dinotune"
        assert cli.run([verb, *rest, *SHORTER.get(verb, [])]) == 0, line
        ran.append(verb)
    assert ran == ["doctor", "new", "check", "train", "evaluate", "predict", "convert", "convert"]


def test_settings_load() -> None:
    (settings,) = blocks("yaml")
    assert load_experiment(yaml.safe_load(settings), environ={}).experiment.data.format == "coco"


def test_commands_in_the_text_exist() -> None:
    known = {info.name or info.callback.__name__ for info in cli.app.registered_commands if info.callback}
    named = set(re.findall(r"`dinotune (\w+)", PAGE))
    assert named >= {"new", "train", "predict"}
    assert named <= known
