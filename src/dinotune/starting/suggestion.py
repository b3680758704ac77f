"""One way from a folder to an experiment, for `dinotune new FOLDER`, `dinotune train FOLDER` and `dinotune.train`."""

import os
import platform
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dinotune.backbones.sources import out_of_reach
from dinotune.backbones.variants import TINY_IDS
from dinotune.config.experiment import Experiment
from dinotune.config.loading import Loaded, load_experiment
from dinotune.config.recipes import RECIPES, names
from dinotune.data.formats import KNOWN_BY
from dinotune.data.problems import counted
from dinotune.errors import SettingsError
from dinotune.files import write_text
from dinotune.starting.choices import DEFAULT_BACKBONE, Choice, Wishes, choose
from dinotune.starting.folder import find_data_set
from dinotune.starting.page import page, tree
from dinotune.starting.survey import MOST_MASKS, Survey, survey

NO_GPU = "no GPU was found, so the values are small ones for a CPU; write it anew where there is a GPU"

HUB_PATIENCE = 3.0
"""Seconds for the hub to say whether it gives the weights; the page is written in any case."""

MOST_CLASSES = 8
"""Classes that are named; of the others the number is said."""


@dataclass(frozen=True)
class Suggestion:
    """What a data set holds, and the settings that suit it."""

    survey: Survey
    wishes: Wishes
    choices: tuple[Choice, ...]

    def load(self, modifiers: Sequence[str] = (), overrides: Sequence[str] = ()) -> Loaded:
        """The experiment, with changes to it, as `load_experiment` makes it."""
        return load_experiment(tree(self.choices), modifiers, overrides)

    @property
    def experiment(self) -> Experiment:
        """The experiment as suggested, whatever the environment says."""
        return load_experiment(tree(self.choices), environ={}).experiment

    def describe(self) -> list[str]:
        """What was found, a line each."""
        return list(_describe(self.survey))


def suggest(folder: Path, wishes: Wishes | None = None) -> Suggestion:
    """Look at a folder and choose settings; without wishes, the usual head and backbone for this machine.

    Raises:
        DinotuneError: there is no data set in the folder, or no such head.
    """
    wishes = wishes or Wishes(gpu=gpu_is_there())
    seen = survey(find_data_set(folder))
    return Suggestion(seen, wishes, tuple(choose(seen, wishes)))


def load_start(source: str | Path, modifiers: Sequence[str] = (), overrides: Sequence[str] = ()) -> Loaded:
    """As `load_experiment`; the folder of a data set stands for the experiment that suits it, told in the notes."""
    path = Path(source).expanduser()
    if not path.is_dir() or (path / "experiment.yaml").is_file():
        return load_experiment(source, modifiers, overrides)
    if isinstance(source, str) and source in names(RECIPES):
        loaded = load_experiment(source, modifiers, overrides)
        note = f'"{source}" is a recipe and a folder; the recipe is taken, the folder is written .{os.sep}{source}'
        return Loaded(loaded.experiment, (note, *loaded.notes))
    suggestion = suggest(path)
    chosen = [f"chosen: {choice.key}={choice.value}  ({choice.reason})" for choice in suggestion.choices]
    loaded = suggestion.load(modifiers, overrides)
    return Loaded(loaded.experiment, (*suggestion.describe(), *chosen, *loaded.notes))


@dataclass(frozen=True)
class Written:
    """A page on disk."""

    path: Path
    suggestion: Suggestion
    weights: str
    """Why the backbone's weights cannot be had, with the ways out; empty where they can."""

    def describe(self) -> str:
        """What was found, what was written, and what to do next."""
        name = shlex.quote(str(self.path))
        lines = [*self.suggestion.describe(), f"Wrote {self.path}", *_about_gpu(self.suggestion)]
        if self.weights:
            lines += ["", self.weights, self._without_download()]
        return "\n".join([*lines, "", "Next:", f"  dinotune check {name}", f"  dinotune train {name}"])

    def _without_download(self) -> str:
        folder, file = (shlex.quote(str(path)) for path in (self.suggestion.survey.found.root, self.path))
        return (
            "Or learn from scratch, with no download and far lower accuracy:\n"
            f"  dinotune new {folder} --backbone tiny-dinov3 --out {file} --overwrite"
        )


def write_experiment(
    folder: Path,
    out: Path | None = None,
    *,
    backbone: str | None = None,
    head: str | None = None,
    overwrite: bool = False,
) -> Written:
    """Suggest an experiment for a folder and write its page; none as `out` takes the folder's name.

    Raises:
        SettingsError: the file is there already, or there is no such head.
        DataError: there is no data set in the folder.
        WeightsError: the backbone is a path or an id that cannot exist; one that is only out of reach is written.
    """
    if out is not None:
        _check_free(out, overwrite=overwrite)
    wishes = Wishes(backbone or DEFAULT_BACKBONE, head or "", gpu_is_there())
    suggestion = suggest(folder, wishes)
    weights = "" if wishes.backbone in TINY_IDS else out_of_reach(wishes.backbone, HUB_PATIENCE) or ""
    path = out or Path(f"{suggestion.experiment.name}.yaml")
    _check_free(path, overwrite=overwrite)
    write_text(path, page(_header(suggestion, path, weights), suggestion.choices))
    return Written(path, suggestion, weights)


def gpu_is_there() -> bool:
    """Whether a GPU seems to be there, without asking torch, which takes seconds."""
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return apple or Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or bool(shutil.which("nvidia-smi"))


def _check_free(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise SettingsError(f"--out: {path} is a folder; name a file, e.g. {path / 'experiment.yaml'}")
    if path.exists() and not overwrite:
        raise SettingsError(f"{path} exists; name another file with --out FILE, or replace it with --overwrite")


def _about_gpu(suggestion: Suggestion) -> list[str]:
    return [] if suggestion.wishes.gpu else [NO_GPU]


def _header(suggestion: Suggestion, path: Path, weights: str) -> list[str]:
    name = shlex.quote(str(path))
    header = [
        *suggestion.describe()[:3],
        *_about_gpu(suggestion),
        f"next: dinotune check {name}, dinotune train {name}",
    ]
    return [*header, f"not here yet: {weights.splitlines()[0]}"] if weights else header


def _describe(seen: Survey) -> Iterator[str]:
    found = seen.found
    counts = ", ".join(f"{count.pictures:,} {split}" for split, count in seen.counts.items())
    held = " (held out of train)" if seen.held_out else ""
    yield f"{found.root}: {KNOWN_BY[found.format][0]}; pictures: {counts}{held}"
    height, width = seen.picture_hw
    yield _classes(seen)
    yield f"pictures {width} x {height} px{_objects(seen) if seen.has == 'boxes' else ''}"
    yield from seen.notes
    if seen.broken:
        yield (
            f"broken entries or files: {seen.broken}; dinotune check {shlex.quote(str(found.root))} lists them; "
            "training stops on them, unless data.on_error=skip"
        )


def _objects(seen: Survey) -> str:
    small, median, large = np.quantile(seen.object_sides, [0.1, 0.5, 0.9]).tolist()
    sizes = f"objects {median:.0f} px (eight of ten {small:.0f} to {large:.0f})"
    return f", {sizes}, at most {seen.most_objects} in a picture"


def _classes(found: Survey) -> str:
    """Training labels by class, most frequent first."""
    by_count = sorted(found.classes.items(), key=lambda item: -item[1])
    named = [f"{name} {count:,}" for name, count in by_count[:MOST_CLASSES]]
    more = [f"{len(by_count) - MOST_CLASSES} more"] if len(by_count) > MOST_CLASSES else []
    pictures = found.counts["train"].pictures
    if found.has == "semantic_masks":
        shown = [name for name, count in by_count[:MOST_CLASSES] if count]
        looked = f" in {min(pictures, MOST_MASKS):,} masks that were looked into" if pictures > MOST_MASKS else ""
        return (
            f"{counted(pictures, 'training picture')}, {counted(len(by_count), 'class')} of pixels, most often{looked}: "
            f"{', '.join(shown + more)}"
        )
    noun = "training box" if found.has == "boxes" else "training picture"
    return (
        f"{counted(found.counts['train'].labels, noun)} of {counted(len(by_count), 'class')}: {', '.join(named + more)}"
    )
