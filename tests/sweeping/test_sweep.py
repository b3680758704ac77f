"""Sweeps of tiny runs: what they leave, that they go on, what stops them and what does not."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dinotune
from dinotune import cli, config
from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.errors import SettingsError
from dinotune.files import write_text
from dinotune.sweeping.child import Children, why_ended
from tests.training.small_runs import assert_same_runs, changed, ended_run

Ending = tuple[str, int, int]
"""Moment, count and signal that end a run (`small_runs`)."""

NEVER: Ending = ("saved", 999, signal.SIGKILL)


class Runs:
    """Starts each run of a sweep from a process that has everything loaded, which saves seconds; the rest is real."""

    def __init__(self) -> None:
        self.started: list[list[str]] = []
        self.endings: dict[str, Ending] = {}
        """End of the run whose folder's name contains the key."""

    def run(self, words: list[str]) -> tuple[int, str]:
        self.started.append(words)
        ending = next((end for name, end in self.endings.items() if name in " ".join(words)), NEVER)
        code, output = ended_run(words, *ending)
        assert code is not None
        return code, output.splitlines()[-1] if code > 0 else ""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    started = Runs()
    monkeypatch.setattr(Children, "run", lambda _, words: started.run(words))
    return started


@pytest.fixture
def page(small_experiment: config.Experiment, tmp_path: Path) -> Path:
    """The small experiment as a file, with one evaluation less."""
    path = tmp_path / "small.yaml"
    write_text(path, dump_experiment(changed(small_experiment, "training.checkpoint_every=none")))
    return path


def statuses(folder: Path) -> dict[str, str]:
    stored = json.loads((folder / "sweep.json").read_text())
    return {run["name"]: run["status"] for run in stored["runs"]}


def test_a_sweep_ends_in_a_table_and_a_plot_and_goes_on(
    page: Path, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run is killed; the same command again goes on with it alone, exactly; another seed comes in addition."""
    out = tmp_path / "sweep"
    words = ["sweep", str(page), "head.roi_batch=64,32", "seed=0,1", "--out", str(out)]
    runs.endings = {"roi_batch-32,seed-0": ("batch", 9, signal.SIGKILL)}
    assert cli.run(words) == 1
    assert len(runs.started) == 4
    printed = capsys.readouterr().out
    assert "check: 24 pictures decoded" in printed
    assert "head.roi_batch=32: killed by SIGKILL; the system does that where memory runs out" in printed
    assert statuses(out) == {
        "roi_batch-64,seed-0": "finished",
        "roi_batch-32,seed-0": "failed",
        "roi_batch-64,seed-1": "finished",
        "roi_batch-32,seed-1": "finished",
    }
    assert "| head.roi_batch=32 | 1 of 2 |" in (out / "table.md").read_text()

    runs.started, runs.endings = [], {}
    assert cli.run(words) == 0
    assert runs.started == [["train", "--resume", str(out / "runs" / "roi_batch-32,seed-0")]]
    lines = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [(line["combination"], line["runs"], line["errors"]) for line in lines] == [
        ("head.roi_batch=64", "2", ""),
        ("head.roi_batch=32", "2", ""),
    ]
    assert lines[1]["ranges_overlap"] in ("True", "False")
    assert (out / "plot.png").read_bytes().startswith(b"\x89PNG")
    alone = tmp_path / "alone"
    code, output = ended_run(
        ["train", str(out / "experiments" / "roi_batch-32,seed-0.yaml"), "--out", str(alone)], *NEVER
    )
    assert code == 0, output
    assert_same_runs(alone, out / "runs" / "roi_batch-32,seed-0")

    runs.started = []
    assert cli.run(words) == 0
    assert runs.started == []
    assert cli.run([word.replace("seed=0,1", "seed=1,2") for word in words]) == 0
    assert [words[-1].rpartition("/")[2] for words in runs.started] == ["roi_batch-64,seed-2", "roi_batch-32,seed-2"]
    assert "| head.roi_batch=32 | 3 |" in (out / "table.md").read_text()
    for other, difference in (
        (["seed=0,1", "training.epochs=3"], "settings: none -> training.epochs=3"),
        (["seed=0,1", "head.slots=7,8"], "axes: head.roi_batch seed -> seed head.slots"),
        (["seed=0,1", "cpu"], "modifiers: none -> cpu"),
    ):
        capsys.readouterr()
        assert cli.run(["sweep", str(page), *other, "--out", str(out)]) == 2
        assert difference.split(":")[0] in capsys.readouterr().err
    write_text(page, page.read_text().replace("warmup_steps: 3", "warmup_steps: 2"))
    assert cli.run(words) == 2
    assert "head.roi_batch=64 seed=0: training.warmup_steps" in capsys.readouterr().err


def test_a_failed_combination_does_not_stop_the_others(page: Path, runs: Runs, tmp_path: Path) -> None:
    """Two missed goals are measured; a broken one is named; a run that made no checkpoint is trained anew."""
    out = tmp_path / "sweep"
    runs.endings = {"seed-7": ("batch", 1, signal.SIGKILL)}
    goal = "training.must_reach={value: 1}"
    found = dinotune.sweep(str(page), ["seed=7,8", goal, "training.epochs=1"], out=out)
    assert statuses(out) == {"seed-7": "failed", "seed-8": "finished"}
    assert len(found.errors) == 2
    assert found.errors[0].startswith("all: killed by SIGKILL")
    assert found.errors[1].startswith("all: FAIL: AP50 ")
    (row,) = found.rows
    assert (len(row.results), row.runs) == (1, 2)
    runs.started, runs.endings = [], {}
    dinotune.sweep(str(page), ["seed=7,8", goal, "training.epochs=1"], out=out)
    assert [words[:2] for words in runs.started] == [["train", str(out / "experiments" / "seed-7.yaml")]]
    assert statuses(out) == {"seed-7": "finished", "seed-8": "finished"}


def test_experiments_are_compared_within_the_same_minutes(
    small_experiment: config.Experiment, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DINOTUNE__TRAINING__LOG_EVERY", "3")
    narrow = changed(small_experiment, "name=narrow", "head.channels=8")
    found = dinotune.sweep([small_experiment, narrow], [], out=tmp_path / "sweep", minutes=0.01)
    assert [row.label for row in found.rows] == ["small", "narrow"]
    assert found.errors == []
    assert len(runs.started) == 2
    for name in ("experiment-small", "experiment-narrow"):
        run = tmp_path / "sweep" / "runs" / name
        training = load_experiment(run / "experiment.yaml", environ={}).experiment.training
        assert (training.minutes, training.log_every) == (None, 3)
        assert f"epochs: {training.epochs}, evaluated every" in (run / "train.log").read_text()
        assert training.epochs == next(row for row in found.rows if row.label in name).results[0].epochs


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "sweep: nothing to compare; give a setting several values"),
        (["seed=0,1", "seed=2"], "seed: given twice"),
        (["seed=0,1", "data.root=nowhere"], "nowhere"),
        (["backbone=tiny-dinov3,nowhere/model"], "nowhere/model"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    page: Path, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert cli.run(["sweep", str(page), *words, "--out", str(tmp_path / "sweep")]) in (1, 2)
    assert expected in capsys.readouterr().err
    assert runs.started == []
    assert not (tmp_path / "sweep").exists()


def test_a_folder_of_something_else_is_left_alone(page: Path, runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not empty and holds no sweep"):
        dinotune.sweep(page, ["seed=0,1"], out=tmp_path)
    assert runs.started == []


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 300
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_stops_run_and_sweep_and_says_how_to_go_on(page: Path, runs: Runs, tmp_path: Path) -> None:
    """The one test that starts its run as a user's sweep does."""
    out = tmp_path / "sweep"
    words = ["sweep", str(page), "seed=0,1", "training.epochs=400", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dinotune", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for((out / "runs" / "seed-0" / "checkpoints" / "last.ckpt").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGINT, said
    assert f"go on with: dinotune {' '.join(words)}" in said
    assert "Traceback" not in said
    assert "2 of 2" not in printed
    assert statuses(out) == {"seed-0": "waiting", "seed-1": "waiting"}
    runs.endings = {"seed": ("batch", 1, signal.SIGKILL)}
    assert cli.run(words) == 1
    assert [words[1] for words in runs.started] == ["--resume", str(out / "experiments" / "seed-1.yaml")]


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (0, "a warning", ""),
        (1, "data: no such folder\n", "data: no such folder"),
        (1, "Traceback (most recent call last):\n  File x\nValueError: odd\nPlease report\n", "ValueError: odd"),
        (1, "", "exit status 1"),
        (-15, "", "killed by SIGTERM"),
    ],
)
def test_why_a_run_ended(code: int, said: str, why: str) -> None:
    assert why_ended(code, said) == why
