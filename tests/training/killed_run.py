"""Trains an experiment file into a folder, and is killed like kill -9 after a given number of batches."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from dinotune.config.loading import load_experiment
from dinotune.training.keeper import RunKeeper
from dinotune.training.run_folder import create_run_folder
from dinotune.training.trainer import train_run


def main(experiment_file: str, folder: str, batches: int) -> None:
    torch.set_num_threads(1)
    original, done = RunKeeper.on_train_batch_end, 0

    def kill_after(self: RunKeeper, *arguments: Any) -> None:
        nonlocal done
        original(self, *arguments)
        done += 1
        if done == batches:
            os.kill(os.getpid(), signal.SIGKILL)

    RunKeeper.on_train_batch_end = kill_after  # type: ignore[method-assign, assignment]
    experiment = load_experiment(experiment_file, environ={}).experiment
    train_run(experiment, create_run_folder(experiment, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
