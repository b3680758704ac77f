"""Ctrl-C and SIGTERM end a run with a checkpoint and the exit status that shells expect."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dinotune import api, cli
from dinotune.training import interrupts
from dinotune.training.interrupts import StopRequest
from dinotune.training.keeper import RunKeeper
from tests.training.small_runs import assert_same_runs, ended_run, run_state

Position = tuple[int, int, bool]


@pytest.mark.parametrize(
    ("number", "moment", "count", "override", "position"),
    [
        (signal.SIGINT, "batch", 9, "data.workers=0", (1, 4, False)),
        (signal.SIGTERM, "batch", 9, "data.workers=0", (1, 4, False)),
        (signal.SIGTERM, "batch", 7, "training.accumulate=2", (1, 2, False)),
        (signal.SIGINT, "batch", 9, "data.workers=2", (1, 4, False)),
        (signal.SIGTERM, "batch", 9, "data.workers=2", (1, 4, False)),
        (signal.SIGTERM, "evaluating", 2, "data.workers=0", (0, 6, True)),
        (signal.SIGINT, "evaluating", 4, "data.workers=0", (1, 6, True)),
        (signal.SIGTERM, "saved", 4, "data.workers=0", (1, 1, False)),
    ],
)
def test_a_signal_leaves_a_checkpoint(
    page: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    number: signal.Signals,
    moment: str,
    count: int,
    override: str,
    position: Position,
) -> None:
    """The signal comes between two batches: the next step is finished, with all its micro-batches; an evaluation is made up for on resume."""
    stopped = tmp_path / "stopped"
    words = ["train", str(page), "--out", str(stopped), override]
    code, output = ended_run(words, moment, count, number)
    assert code == 128 + number, output
    assert f"stopped as asked; go on with: dinotune train --resume {stopped}" in output
    assert "Traceback" not in output
    state = run_state(stopped)
    assert (state["epoch"], state["next_batch"], state["evaluation_pending"]) == position
    api.resume(stopped)
    assert_same_runs(
        request.getfixturevalue("accumulated_run" if "accumulate" in override else "finished_run"), stopped
    )


def test_the_second_ctrl_c_stops_at_once_and_copies_of_the_first_do_not(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = []

    def impatient(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        passed.append("copies of the first")
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        passed.append("the second")

    monkeypatch.setattr(interrupts, "ONE_PRESS_SECONDS", 0.1)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(RunKeeper, "on_train_batch_end", impatient)
    assert cli.run(["train", str(page), "--out", str(tmp_path / "run")]) == 130
    assert passed == ["copies of the first"]
    assert "stopped at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_cannot_listen_but_can_train() -> None:
    errors = []

    def listen() -> None:
        try:
            with StopRequest().listening():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert not errors
