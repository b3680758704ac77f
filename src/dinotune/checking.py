"""`dinotune check`: the check of a folder or of an experiment's data, and what its training would do.

A folder alone loads no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dinotune import config
from dinotune.config.loading import Loaded, load_experiment
from dinotune.data.checks.data_set import USUAL_PATCH, DataCheck, check_data
from dinotune.data.checks.report import describe, to_json
from dinotune.errors import SettingsError
from dinotune.files import write_json, write_text
from dinotune.starting.folder import find_data_set
from dinotune.training.data_check import patch_size
from dinotune.training.progress import Progress

SHOWN = 20
"""Problems of each kind on the terminal."""

SUFFIXES = (".json", ".txt")


def check(source: str | Path, overrides: Sequence[str] = (), *, modifiers: Sequence[str] = ()) -> DataCheck:
    """Check a data set: every broken file, line and box, and counts per class and size.

    Args:
        source: Folder of a data set; or recipe, YAML file or run folder, whose data is checked.
        overrides: ``key=value`` words.
        modifiers: Names or files, merged over a recipe or YAML file.

    Returns:
        What was found; `findings.stopping` are the problems that a training ends on.

    Raises:
        DataError: no annotations are found at all.
        SettingsError: settings are wrong.
    """
    experiment = _load(source, modifiers, overrides).experiment
    of_experiment = _is_experiment(source)
    patch = patch_size(experiment.backbone) if of_experiment else USUAL_PATCH
    needs = experiment.needs if of_experiment else None
    with Progress(None) as progress:
        return check_data(experiment.data, needs=needs, patch=patch, start=progress.start, advance=progress.advance)


def report_check(names: Sequence[str], overrides: Sequence[str], *, report: Path | None, everything: bool) -> bool:
    """Check, print what was found and write it to `report`; whether a training could start.

    Raises:
        DinotuneError: as `check`; for an experiment also what else would keep it from training.
    """
    source, *modifiers = names
    if report is not None and report.suffix not in SUFFIXES:
        raise SettingsError(f"--report: {report} must end in {' or '.join(SUFFIXES)}")
    found = check(source, overrides, modifiers=modifiers)
    print("\n".join(describe(found, None if everything else SHOWN)))
    if report is not None:
        _write(report, found)
    if found.findings.stopping:
        return False
    if _is_experiment(source):
        _print_outlook(_load(source, modifiers, overrides))
    return True


def _print_outlook(loaded: Loaded) -> None:
    from dinotune.training.outlook import outlook  # loads torch: seconds that only an experiment should cost
    from dinotune.training.preparation import prepare

    lines = outlook(prepare(loaded.experiment, check=False, unmodified=loaded.unmodified), Path("runs"))
    print("\n".join(["", "What training would do:", *lines]))


def _is_experiment(source: str | Path) -> bool:
    path = Path(source).expanduser()
    return not path.is_dir() or (path / "experiment.yaml").is_file()


def _load(source: str | Path, modifiers: Sequence[str], overrides: Sequence[str]) -> Loaded:
    path = Path(source).expanduser()
    if not path.is_dir():
        return load_experiment(source, modifiers, overrides)
    if (path / "experiment.yaml").is_file():
        return load_experiment(path / "experiment.yaml", modifiers, overrides)
    if modifiers:
        raise SettingsError(f"check: {' '.join(modifiers)}: a folder takes key=value only")
    found = find_data_set(path)
    data: dict[str, Any] = {"root": found.root, "format": found.format}
    experiment = config.Experiment(data=config.Data.model_validate(data))
    return load_experiment(experiment, (), overrides)


def _write(report: Path, found: DataCheck) -> None:
    if report.suffix == ".json":
        write_json(report, to_json(found))
    else:
        write_text(report, "\n".join(describe(found, None)) + "\n")
    print(f"Report: {report}")
