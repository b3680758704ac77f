"""The command line: what it prints, its exit status, and what it hands to the API."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dinotune import cli, config, listings
from dinotune.errors import DataError
from tests.data.small_sets import write_coco_set


class FakeApi(ModuleType):
    """Stands for `dinotune.api` and remembers how it was called."""

    def __init__(self) -> None:
        super().__init__("dinotune.api")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            if self.error:
                raise self.error
            self.calls.append((name, arguments, keywords))
            metrics: dict[str, Any] = {"AP": 0.25, "ARs": None, "images": 7, "per_class": {}, "folder": "there"}
            return metrics if name == "evaluate" else name

        return call


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setitem(sys.modules, "dinotune.api", fake)
    monkeypatch.setattr("dinotune.api", fake, raising=False)
    return fake


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "experiment.yaml").write_text("seed: 1\n")
    (folder / "checkpoints" / "best_AP.safetensors").touch()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> str:
    write_coco_set(tmp_path / "data")
    return f"data={tmp_path / 'data'}"


def test_train_hands_over_the_checked_experiment(api: FakeApi, data: str, tmp_path: Path) -> None:
    words = [
        "train",
        "coco_faster_rcnn",
        "overfit8",
        "backbone=tiny-dinov3",
        "seed=3",
        data,
        "--out",
        str(tmp_path / "out"),
        "training.epochs=2",
        "--overwrite",
    ]
    assert cli.run(words) == 0
    ((name, (experiment,), keywords),) = api.calls
    assert name == "train"
    assert (experiment.seed, experiment.training.epochs, experiment.data.train.limit) == (3, 2, 8)
    assert keywords["out"] == tmp_path / "out"
    assert keywords["overwrite"] is True
    assert keywords["notes"] == ("training.schedule: steps -> cosine, which drops epochs, factor",)


def test_train_resumes(api: FakeApi, run_folder: Path) -> None:
    assert cli.run(["train", "--resume", str(run_folder), "training.epochs=9"]) == 0
    assert api.calls == [("resume", (run_folder, ["training.epochs=9"]), {})]


def test_evaluate_hands_over(api: FakeApi, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run_folder / "checkpoints" / "best_AP.safetensors"
    assert cli.run(["evaluate", str(file), "data=other", "--split", "test", "--pictures", "4"]) == 0
    expected = {"overrides": ["data=other"], "split": "test", "out": None, "pictures": 4}
    assert api.calls == [("evaluate", (file,), expected)]
    printed = capsys.readouterr().out
    assert "On 7 pictures: AP 0.250  ARs -\n" in printed
    assert "Metrics and predictions: there" in printed


def test_predict_hands_over(api: FakeApi, run_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.touch()
    assert cli.run(["predict", str(run_folder), str(picture), "--threshold", "0.4", "--out", str(tmp_path / "o")]) == 0
    settings = config.Prediction(threshold=0.4)
    assert api.calls == [
        ("predict_files", (run_folder, [picture]), {"out": tmp_path / "o", "settings": settings, "device": "auto"})
    ]


def test_every_setting_of_the_prediction_is_an_option(api: FakeApi, run_folder: Path) -> None:
    words = [
        "--threshold",
        "0.3",
        "--tiles",
        "512",
        "--overlap",
        "0.1",
        "--no-whole",
        "--batch-size",
        "3",
        "--every",
        "5",
        "--write",
        "yolo,json",
    ]
    assert cli.run(["predict", str(run_folder), str(run_folder), *words]) == 0
    written: dict[str, Any] = {"threshold": 0.3, "tiles": 512, "overlap": 0.1, "whole": False, "batch_size": 3}
    expected = config.Prediction(**written, every=5, write=("yolo", "json"))
    assert api.calls[0][2]["settings"] == expected
    plain = config.Prediction().model_dump()
    assert [key for key, value in expected.model_dump().items() if value == plain[key]] == []


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["train", "coco_faster_rcnn", "training.epoch=3"], 2, 'training.epoch: unknown key; did you mean "epochs"?'),
        (["train"], 2, "train: name an experiment"),
        (["train", "coco_faster_rcn"], 2, 'did you mean "coco_faster_rcnn"?'),
        (["train", "--resume", "RUN", "other"], 2, "other: a run goes on with its own experiment"),
        (["train", "--resume", "RUN", "--out", "x"], 2, "leave out --out"),
        (["train", "--resume", "RUN", "sed=3"], 2, 'sed: unknown key; did you mean "seed"?'),
        (["train", "--resume", "RUN", "seed=3"], 2, "seed cannot change in a run"),
        (["train", "--resume", "nowhere"], 2, "nowhere: no run folder (no experiment.yaml)"),
        (["train", "faster_rcnn", "backbone=facebook/dinov2-small"], 1, "data.root is not set; name a data set's"),
        (["train", "faster_rcnn", "backbone=tiny-dinov3", "DATA", "--out", "RUN"], 2, "RUN is not empty; go on with"),
        (
            ["train", "faster_rcnn", "backbone=tiny-dinov3", "DATA", "training.initialize_from=nowhere"],
            2,
            "training.initialize_from: nowhere: neither a checkpoint file nor a run folder",
        ),
        (["evaluate", "RUN", "head.slots=3"], 2, "head.slots cannot change in a trained model; only data."),
        (["evaluate", "nowhere"], 1, "nowhere: neither a checkpoint file nor a run folder"),
        (["evaluate", "RUN", "--out", "RUN/experiment.yaml"], 2, "experiment.yaml is a file; name a folder"),
        (["predict", ".", "RUN"], 1, ".: neither a checkpoint file nor a run folder"),
        (["predict", "RUN", "RUN", "--out", "RUN/experiment.yaml"], 2, "experiment.yaml is a file; name a folder"),
        (["predict", "RUN", "RUN", "--device", "gpu"], 2, "'gpu' is not one of 'auto',"),
        (["evaluate", "RUN", "evaluation.spilt=val"], 2, 'did you mean "split"?'),
        (["evaluate", "RUN/checkpoints/best_AP.safetensors", "--split", "tset"], 2, 'did you mean "test"?'),
        (["evaluate", "RUN", "val"], 2, "val: no setting; write key=value"),
        (["predict", "RUN", "nothing.jpg"], 1, "there is no nothing.jpg"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["predict", "RUN"], 2, "Missing argument"),
        (["train", "faster_rcnn", "backbone=tiny-dinov4", "DATA"], 1, 'did you mean "tiny-dinov3"?'),
        (["backbones", "--size", "0", "640"], 2, "--size: 0 640 is wrong; give height and width in pixels"),
        (["predict", "RUN", "RUN", "--tiles", "0"], 2, "tiles: 0 is wrong; give integer >= 1 or none"),
        (
            ["predict", "RUN", "RUN", "--write", "json,txt"],
            2,
            "write: json,txt is wrong; give non-empty list, each json,",
        ),
    ],
)
def test_mistakes_are_said_before_any_work(
    api: FakeApi,
    run_folder: Path,
    data: str,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    expected: str,
) -> None:
    assert cli.run([word.replace("RUN", str(run_folder)).replace("DATA", data) for word in words]) == status
    printed = capsys.readouterr()
    assert expected.replace("RUN", str(run_folder)) in printed.err
    assert "Traceback" not in printed.err
    assert api.calls == []


@pytest.mark.parametrize(
    ("error", "status", "expected", "traceback"),
    [
        (DataError("a.xml: no boxes"), 1, "a.xml: no boxes\n", False),
        (KeyboardInterrupt(), 130, "", False),
        (SystemExit(143), 143, "", False),
        (ZeroDivisionError("odd"), 1, cli.REPORT_TO, True),
    ],
)
def test_errors_end_in_their_status(
    api: FakeApi,
    data: str,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    expected: str,
    traceback: bool,
) -> None:
    api.error = error
    assert cli.run(["train", "coco_faster_rcnn", "backbone=tiny-dinov3", data]) == status
    printed = capsys.readouterr().err
    assert printed.endswith(expected + "\n" if traceback else expected)
    assert ("Traceback" in printed) is traceback


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--version"], "dinotune 0."),
        (["list", "recipes"], "coco_faster_rcnn"),
        (["list", "settings"], "training.epochs = 50  (integer >= 1)"),
        (["list", "heads"], "faster_rcnn"),
        (["--help"], "quickstart"),
        (["backbones"], "21,601,152"),
        (["backbones", "--size", "448", "630"], "32x45"),
    ],
)
def test_listings(capsys: pytest.CaptureFixture[str], words: list[str], expected: str) -> None:
    assert cli.run(words) == 0
    assert expected in capsys.readouterr().out


def test_list_runs(run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_folder.parents[1])
    (run_folder / "metrics.json").write_text('{"AP": 0.25, "AP50": 0.5}')
    (run_folder.parent / "latest").symlink_to("one")
    assert cli.run(["list", "runs"]) == 0
    printed = capsys.readouterr().out
    assert "runs/one" in printed
    assert "0.25" in printed
    assert "latest" not in printed


def test_of_many_classes_the_most_frequent_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = dict.fromkeys(("AP", "AP50", "threshold", "precision", "recall", "F1"), 0.5)
    classes = {f"class number {i}": {**numbers, "objects": i} for i in range(60)}
    listings.print_metrics({"AP": 0.5, "images": 7, "per_class": classes, "folder": "there"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines if "number" in line][:2] == [
        ["class", "number", "59", "59"],
        ["class", "number", "58", "58"],
    ]
    assert sum("number" in line for line in lines) == listings.MOST_CLASSES, "names do not fold at 80 columns"
    assert "20 classes with fewer or no objects: metrics.json has all" in lines


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema"]) == 0
    assert "training" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "coco_faster_rcnn", "training.epoch=3"],
        ["sweep", "coco_faster_rcnn,bccd_detr", "training.epoch=3", "seed=0,1,2"],
        ["train", "--resume", "tests", "seed=3"],
        ["evaluate", "tests", "--out", "pyproject.toml"],
        ["predict", "tests", "tests"],
    ],
)
def test_answers_at_once_and_without_torch(words: list[str]) -> None:
    script = (
        "import sys; from dinotune import cli; status = cli.run(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'timm', 'cv2'} & set(sys.modules); print('heavy:', sorted(heavy)); sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert (done.returncode == 0) is (words == ["--help"])
    assert done.stdout.endswith("heavy: []\n")
    assert took < 3, "seconds of processor time; torch alone takes more"


def test_weights_out_of_reach_are_said_before_torch_is_loaded(data: str) -> None:
    script = (
        "import sys; from dinotune import cli; s = cli.run(sys.argv[1:]); print('torch' in sys.modules); sys.exit(s)"
    )
    words = ["train", "faster_rcnn", "backbone=facebook/dinov3-vits16-pretrain-lvd1689m", data]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout) == (1, "False\n")
    assert "Ways out:" in done.stderr
    assert "take an ungated model" in done.stderr
