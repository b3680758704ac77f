"""`dinotune new FOLDER` and `dinotune train FOLDER`, as they are typed."""

import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dinotune import api, cli
from dinotune.backbones.hub import refusal as REFUSAL  # other tests replace it
from dinotune.config.loading import load_experiment
from dinotune.starting import suggestion
from dinotune.starting.suggestion import suggest

GATED = "facebook/dinov3-vits16-pretrain-lvd1689m"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DINOTUNE_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("dinotune.backbones.hub.refusal", lambda *_: "no hub in this test")


@pytest.mark.parametrize("name", ["bccd", "nuclei", "coco53"])
def test_writes_a_page_and_says_what_is_next(shared_data: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["new", str(shared_data / name)]) == 0
    file = Path(f"{name}.yaml")
    assert load_experiment(file, environ={}).experiment == suggest(shared_data / name).experiment
    assert len(file.read_text().splitlines()) <= 40
    printed = capsys.readouterr().out
    assert f"Wrote {name}.yaml" in printed
    assert printed.endswith(f"Next:\n  dinotune check {name}.yaml\n  dinotune train {name}.yaml\n")


def test_commands_on_page_and_screen_exist(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["new", str(shapes), "--out", "my page.yaml"]) == 0
    text = capsys.readouterr().out + Path("my page.yaml").read_text()
    commands = re.findall(r"^ +dinotune (.*)$", text, re.MULTILINE)
    assert len(commands) >= 3
    assert shlex.split(commands[-1]) == ["train", "my page.yaml"]
    known = {info.name or info.callback.__name__ for info in cli.app.registered_commands if info.callback}
    assert set(re.findall(r"dinotune (\w+)", text)) <= known


def test_weights_out_of_reach_are_said_and_the_page_is_written(
    shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["new", str(shapes), "--backbone", GATED, "--out", "page.yaml"]) == 0
    printed = capsys.readouterr().out
    assert f"cannot get {GATED}: no hub in this test" in printed
    assert "take an ungated model" in printed
    (way_out,) = re.findall(r"dinotune (new .*--backbone tiny-dinov3.*)", printed)
    page = Path("page.yaml").read_text()
    assert f"# not here yet: backbone.id: cannot get {GATED}: no hub in this test" in page
    assert load_experiment("page.yaml", environ={}).experiment.backbone.id == GATED
    assert cli.run(shlex.split(way_out)) == 0
    assert load_experiment("page.yaml", environ={}).experiment.backbone.id == "tiny-dinov3"
    assert "cannot get" not in capsys.readouterr().out + Path("page.yaml").read_text()


def test_head_and_out_are_taken(shapes: Path) -> None:
    assert cli.run(["new", str(shapes), "--head", "detr", "--out", "deep/detr.yaml"]) == 0
    assert load_experiment("deep/detr.yaml", environ={}).experiment.head.kind == "detr"


def test_a_page_is_never_replaced_unasked(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("data.yaml")
    file.write_text("mine\n")
    assert cli.run(["new", str(shapes)]) == 2
    assert cli.run(["new", str(shapes), "--out", "data.yaml"]) == 2
    assert file.read_text() == "mine\n"
    assert capsys.readouterr().err.count("data.yaml exists; name another file with --out FILE") == 2
    assert cli.run(["new", str(shapes), "--overwrite"]) == 0
    assert load_experiment(file, environ={}).experiment.data.root == shapes


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["nowhere"], 1, "nowhere: no such folder"),
        (["empty"], 1, "no annotations found. Looked for COCO"),
        (["DATA", "--backbone", "facebok"], 1, "neither a hub id"),
        (["DATA", "--backbone", "./weights.pth"], 1, "./weights.pth does not exist"),
        (["DATA", "--backbone", "tiny-dino"], 1, 'did you mean "tiny-dinov'),
        (["DATA", "--head", "yolo"], 2, 'there is no "yolo"'),
        (["DATA", "--out", "empty"], 2, "empty is a folder; name a file"),
    ],
)
def test_mistakes(
    shapes: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, expected: str
) -> None:
    Path("empty").mkdir()
    assert cli.run(["new", *(word.replace("DATA", str(shapes)) for word in words)]) == status
    printed = capsys.readouterr()
    assert expected in printed.err
    assert "Traceback" not in printed.err
    assert list(Path().glob("*.yaml")) == []


def test_answers_at_once_and_without_torch(shapes: Path) -> None:
    script = (
        "import sys; from dinotune import cli; status = cli.run(sys.argv[1:]);"
        "print('heavy:', sorted({'torch', 'lightning', 'timm', 'cv2'} & set(sys.modules))); sys.exit(status)"
    )
    words = ["new", str(shapes), "--backbone", "tiny-dinov3"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.endswith("heavy: []\n")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3, (
        "seconds of processor time; torch alone takes more"
    )


def test_train_takes_a_folder(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(shapes, "helmets")
    small = ["backbone=tiny-dinov3", "backbone.tiny.width=32", "head.channels=16", "data.workers=0", "device=cpu"]
    words = [*small, "training.epochs=1", "data.train.limit=4", "data.val.limit=2"]
    assert cli.run(["train", "helmets", *words, "--out", "run"]) == 0
    printed = capsys.readouterr().out + Path("run/train.log").read_text()
    assert "helmets: COCO; pictures: 18 train, 6 val, 3 test" in printed
    assert "chosen: data.size=64" in printed
    stored = load_experiment("run/experiment.yaml", environ={}).experiment
    assert stored.data.size == 64
    assert stored.name == "helmets"


def test_train_from_python_takes_a_folder(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"BACKBONE": "tiny-dinov3", "DATA__WORKERS": "0", "TRAINING__EPOCHS": "1"}.items():
        monkeypatch.setenv(f"DINOTUNE__{key}", value)
    run = api.train(shapes, out="run")
    assert (run.folder / "metrics.json").is_file()


def test_a_hub_that_never_answers_delays_the_page_little(
    shapes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suggestion.HUB_PATIENCE <= 3
    monkeypatch.setattr("dinotune.backbones.hub.refusal", REFUSAL)
    monkeypatch.setattr(suggestion, "HUB_PATIENCE", 0.2)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: time.sleep(3))
    assert cli.run(["new", str(shapes), "--backbone", "owner/unheard-of", "--out", "page.yaml"]) == 0
    assert "the hub gave no answer within 0.2 s" in capsys.readouterr().out
