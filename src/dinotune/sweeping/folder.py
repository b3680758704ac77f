"""The folder of a sweep: `sweep.json` says what is trained and how far it is, so that the same command goes on.

`experiments/NAME.yaml` holds a combination's settings, `runs/NAME` its run.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.errors import SettingsError
from dinotune.files import check_folder, write_json, write_text
from dinotune.sweeping.combinations import Combination
from dinotune.sweeping.results import Run, read_result, rows_of
from dinotune.sweeping.tables import comma_separated, markdown, numbers
from dinotune.training.changes import differences

SAME = ("experiments", "modifiers", "settings", "axes")
"""What a command must have in common with the one that began the sweep; values may come to its axes."""


class SweepFolder:
    """What lies on disk of a sweep.

    Args:
        folder: Where; none takes a new one below runs/.
        command: `experiments`, `modifiers`, `settings` and names of `axes`.
        combinations: What the command names; runs of earlier commands in this folder stay in the table.

    Raises:
        SettingsError: the folder holds something else, or a sweep of another command.
    """

    def __init__(self, folder: Path | None, command: dict[str, Any], combinations: Sequence[Combination]) -> None:
        self.folder = folder or Path("runs") / f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
        self._command = command
        self.scores = combinations[0].experiment.scores
        check_folder(self.folder)
        before = self._before()
        for combination in combinations:
            self._check_same(combination)
        known = {run.name: run for run in before}
        for combination in combinations:
            known.setdefault(combination.name, Run(combination.values, combination.name))
            write_text(self.page(combination.name), dump_experiment(combination.experiment))
        self.runs = known
        self.write()

    def page(self, name: str) -> Path:
        """The settings of a combination."""
        return self.folder / "experiments" / f"{name}.yaml"

    def run(self, name: str) -> Path:
        """The run folder of a combination."""
        return self.folder / "runs" / name

    def command_for(self, name: str) -> list[str]:
        """Words for `dinotune` that train a combination, or go on with it where it has a checkpoint."""
        run = self.run(name)
        if (run / "checkpoints" / "last.ckpt").is_file():
            return ["train", "--resume", str(run)]
        if run.is_dir():
            shutil.rmtree(run)  # it stopped before its first checkpoint
        return ["train", str(self.page(name)), "--out", str(run)]

    def record(self, name: str, error: str, *, finished: bool) -> None:
        """Keep how a run ended."""
        result = read_result(self.run(name), self.scores) if finished else None
        status: Any = "finished" if finished else "failed"
        self.runs[name] = replace(self.runs[name], status=status, error=error, result=result)
        self.write()

    def write(self) -> None:
        """Write `sweep.json` and the table."""
        runs = [vars(run) | {"result": run.result and run.result.to_json()} for run in self.runs.values()]
        rows = rows_of(list(self.runs.values()))
        table = [numbers(row, rows[0], self.scores) for row in rows]
        write_json(self.folder / "sweep.json", {**self._command, "runs": runs, "table": table})
        write_text(self.folder / "table.md", markdown(rows, self.scores))
        write_text(self.folder / "table.csv", comma_separated(rows, self.scores))

    def _before(self) -> list[Run]:
        page = self.folder / "sweep.json"
        if not page.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise SettingsError(f"out: {self.folder} is not empty and holds no sweep; name another folder")
            return []
        stored = json.loads(page.read_text(encoding="utf-8"))
        changes = [
            f"  {key}: {_shown(stored[key])} -> {_shown(self._command[key])}"
            for key in SAME
            if sorted(stored[key]) != sorted(self._command[key])
        ]
        if changes:
            raise self._another(changes)
        return [
            Run(
                run["values"],
                run["name"],
                run["status"],
                run["error"],
                read_result(self.run(run["name"]), self.scores) if run["status"] == "finished" else None,
            )
            for run in stored["runs"]
        ]

    def _check_same(self, combination: Combination) -> None:
        """A recipe or file may have changed since."""
        page = self.page(combination.name)
        if not page.is_file():
            return
        before = load_experiment(page, environ={}).experiment.model_dump(mode="json")
        after = combination.experiment.model_dump(mode="json")
        changed = differences(before, after)
        if changed:
            raise self._another([f"  {combination.label}: {', '.join(changed)}"])

    def _another(self, changes: Sequence[str]) -> SettingsError:
        listed = "\n".join(changes)
        return SettingsError(
            f"out: {self.folder} holds a sweep of other settings:\n{listed}\n"
            "name another folder; here, only values can come to its axes"
        )


def _shown(words: Sequence[str]) -> str:
    return " ".join(words) or "none"
