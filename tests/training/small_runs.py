"""Runs in processes of their own that end at a chosen moment by a chosen signal, and what runs are compared by."""

import json
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dinotune import api, cli, config
from dinotune.checkpoints import AVERAGED_KEY, Description, read_checkpoint
from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.data.sampler import TrainBatchSampler
from dinotune.data.splits import read_records
from dinotune.files import write_text
from dinotune.training.keeper import RunKeeper
from dinotune.training.progress import Progress

MOMENTS: dict[str, tuple[type, str]] = {
    "batch": (RunKeeper, "on_train_batch_end"),
    "evaluating": (Progress, "evaluating"),
    "saved": (RunKeeper, "_save"),
}
"""Calls after which a run can be ended: a training batch, the start of an evaluation batch, a `last.ckpt`."""

TIMES = {"seconds", "pictures_per_second", "memory_gb"}

# Its server has everything loaded and computes nothing, so each run starts in a moment even where CUDA is in use.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["dinotune.api", "dinotune.cli", "dinotune.training.trainer"])


def changed(experiment: config.Experiment, *overrides: str) -> config.Experiment:
    """The experiment with ``key=value`` changes."""
    return load_experiment(experiment, overrides=overrides, environ={}).experiment


def batch_sizes(experiment: config.Experiment) -> list[int]:
    """Pictures in each batch of the first epoch; some batches of a shape are not full."""
    records = read_records(experiment.data, "train", seed=experiment.seed)
    batch_size = experiment.training.pictures_per_step
    sampler = TrainBatchSampler(records, experiment.data, batch_size=batch_size, multiple=16, seed=experiment.seed)
    return [len(draws) for draws in sampler]


def end_at(moment: str, count: int, number: int) -> None:
    """Send this process group a signal after the given call of a moment."""
    owner, name = MOMENTS[moment]
    original, calls = getattr(owner, name), 0

    def counting(*arguments: Any) -> None:
        nonlocal calls
        original(*arguments)
        calls += 1
        if calls == count:
            # Kill -9 is for one process; Ctrl-C and a scheduler's SIGTERM reach its workers too.
            os.kill(os.getpid() if number == signal.SIGKILL else 0, number)

    setattr(owner, name, counting)


def ended_run(words: list[str], moment: str, count: int, number: int = signal.SIGKILL) -> tuple[int | None, str]:
    """Exit code and output of `dinotune WORDS` ended at the given moment; -9 is the code after kill -9."""
    with tempfile.NamedTemporaryFile() as output:
        process = processes.Process(target=_run, args=(words, moment, count, number, output.name))
        process.start()
        process.join()
        return process.exitcode, output.read().decode()


def _run(words: list[str], moment: str, count: int, number: int, output: str) -> None:
    os.setsid()
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # workers start as they would from a shell
    with open(output, "ab", buffering=0) as file:  # noqa: PTH123
        for standard in (1, 2):
            os.dup2(file.fileno(), standard)
    end_at(moment, count, number)
    sys.exit(cli.run(words))


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl` without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def assert_same_runs(first: Path, second: Path) -> None:
    """Losses, weights, scores, optimiser and state are equal bit for bit."""
    for line, other in zip(metrics(first), metrics(second), strict=True):
        assert line == other
    files = sorted(path.name for path in (first / "checkpoints").iterdir())
    assert files == sorted(path.name for path in (second / "checkpoints").iterdir())
    for name in files:
        weights, description = read_checkpoint(first / "checkpoints" / name)
        others, other_description = read_checkpoint(second / "checkpoints" / name)
        assert_same_tensors(weights, others)
        assert without_workers(description) == without_workers(other_description)
    states = [last_state(run) for run in (first, second)]
    assert_same_tensors(states[0]["state_dict"], states[1]["state_dict"])
    means = [state.get(AVERAGED_KEY, {"steps": 0, "weights": {}}) for state in states]
    assert means[0]["steps"] == means[1]["steps"]
    assert_same_tensors(means[0]["weights"], means[1]["weights"])
    assert states[0]["dinotune"]["state"] == states[1]["dinotune"]["state"]
    moments = [state["optimizer_states"][0]["state"] for state in states]
    assert moments[0].keys() == moments[1].keys()
    assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[0])
    written = [
        path for kind in ("predictions.*", "confusion.csv") for path in first.glob(f"evaluations/*-best_*/{kind}")
    ]
    evaluations = [path.relative_to(first) for path in written]
    assert evaluations
    for file in (Path("metrics.json"), *evaluations):
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def assert_killed_ends_the_same(experiment: config.Experiment, run: Path, folder: Path) -> None:
    """A run of the experiment that is killed in its eighth batch and resumed in `folder` ends like `run`."""
    write_text(folder / "experiment.yaml", dump_experiment(experiment))
    words = ["train", str(folder / "experiment.yaml"), "--out", str(folder / "killed")]
    code, output = ended_run(words, "batch", 8)
    assert code == -signal.SIGKILL, output
    api.resume(folder / "killed")
    assert_same_runs(run, folder / "killed")


def assert_same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """The same names, and tensors equal bit for bit."""
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def without_workers(description: Description) -> dict[str, Any]:
    """The description but for what may differ between equal runs."""
    values = description.to_json()
    del values["experiment"]["data"]["workers"]
    return values


def last_state(folder: Path) -> dict[str, Any]:
    """Content of `last.ckpt`; everything but the tensors stands as JSON under `dinotune`."""
    stored: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return stored


def run_state(folder: Path) -> dict[str, Any]:
    """The run's state in `last.ckpt`."""
    state: dict[str, Any] = json.loads(last_state(folder)["dinotune"]["state"])
    return state
