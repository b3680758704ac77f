"""The command line: the verbs of `dinotune.api` for the shell.

Heavy libraries are imported inside the commands, after the settings were checked: a mistyped key fails at once.
"""

import json
import sys
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import dinotune
from dinotune.config.loading import load_experiment
from dinotune.config.prediction import Prediction
from dinotune.errors import DinotuneError, SettingsError
from dinotune.files import check_folder, find_checkpoint
from dinotune.options import only_overrides, options_of, split_words

REPORT_TO = "This is a mistake in dinotune. Please report it with the lines above and the version: dinotune --version"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

FORMATS = "coco, voc, yolo, torchvision_json, mask_folder, instance_folder, class_list or image_folder"
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings to change.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write; none takes a new one below runs/.")]
Source = Annotated[Path, typer.Argument(metavar="RUN|FILE", help="Run folder or model file.")]


class Device(StrEnum):
    """What `--device` takes."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"


class Listing(StrEnum):
    """What `dinotune list` knows."""

    RECIPES = "recipes"
    SETTINGS = "settings"
    HEADS = "heads"
    RUNS = "runs"


def main() -> None:
    """Entry of the console: runs a command and ends the process with its exit status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 wrong settings or usage, 130 interrupted."""
    try:
        app(args=list(arguments), prog_name="dinotune")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except DinotuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        print(REPORT_TO, file=sys.stderr)
        return 1
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dinotune {dinotune.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Detectors, segmenters and classifiers from Meta's DINOv2 and DINOv3 vision transformers."""


@app.command()
def quickstart(
    overrides: Overrides = None,
    out: Out = None,
    backbone: Annotated[str | None, typer.Option(help="Backbone to use instead of the tiny one.")] = None,
) -> None:
    """Draw a small data set, train a detector on it, evaluate and predict: minutes on a CPU."""
    words = only_overrides(overrides)
    from dinotune.starting.weights import find_weights

    find_weights(load_experiment("quickstart", (), [f"backbone={backbone}", *words] if backbone else words).experiment)
    from dinotune.quickstart import quickstart as tour

    tour(out, backbone, words)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder of your pictures and their labels.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="YAML file to write.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Id or folder: dinotune backbones; or tiny-dinov3.")] = None,
    head: Annotated[str | None, typer.Option(help="Kind of head: dinotune list heads.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Look at a folder of pictures and write an experiment that suits it."""
    from dinotune.starting.suggestion import write_experiment

    print(write_experiment(folder, out, backbone=backbone, head=head, overwrite=overwrite).describe())


@app.command()
def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT|FOLDER MODIFIER KEY=VALUE",
            help="Recipe, YAML file or folder of a data set; then modifiers of it, and settings to change.",
        ),
    ] = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to go on with; takes KEY=VALUE only.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty the folder --out first.")] = False,
) -> None:
    """Train a model and write everything about it into a run folder."""
    names, overrides = split_words(words)
    if resume is not None:
        from dinotune.training.changes import check_resume, resumed

        check_resume(resume, names, overwrite=overwrite, out=out)
        resumed(resume, overrides)
        from dinotune import api

        api.resume(resume, overrides)
        return
    if not names:
        raise SettingsError(
            "train: name an experiment, e.g. dinotune train faster_rcnn data=FOLDER; recipes: dinotune list recipes"
        )
    from dinotune.data.splits import find_places
    from dinotune.starting.suggestion import load_start
    from dinotune.starting.weights import find_weights

    loaded = load_start(names[0], names[1:], overrides)
    find_places(loaded.experiment.data, loaded.experiment.needs)
    find_weights(loaded.experiment)
    if out is not None:
        from dinotune.training.run_folder import check_free

        check_free(loaded.experiment, out, overwrite=overwrite)
    from dinotune import api

    api.train(loaded.experiment, out=out, overwrite=overwrite, notes=loaded.notes, unmodified=loaded.unmodified)


@app.command()
def sweep(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPERIMENT MODIFIER KEY=A,B,C KEY=VALUE",
            help="What to train, as for train (several recipes or files with commas between them are compared); "
            "settings with several values, each of which is trained with each of the others; and settings of all.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write, or to go on with; none takes a new one below runs/."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training for each combination, in the place of its epochs.")
    ] = None,
) -> None:
    """Train every combination of settings with the same budget; ends in one table and a plot.

    dinotune sweep bccd_detr adapter=frozen,lora seed=0,1,2 --out runs/adapters

    The same command goes on where it stopped. Status 1 if a combination failed.
    """
    names, overrides = split_words(words)
    if not names:
        raise SettingsError("sweep: name an experiment, e.g. dinotune sweep bccd_detr seed=0,1,2")
    from dinotune import sweeping

    done = sweeping.sweep(names[0], overrides, modifiers=names[1:], out=out, minutes=minutes)
    if done.errors:
        raise typer.Exit(1)


@app.command()
def probe(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER|EXPERIMENT MODIFIER KEY=VALUE",
            help="Folder of pictures per class, recipe or YAML file; then modifiers of it, and settings to change.",
        ),
    ],
    views: Annotated[int, typer.Option(help="Views of each training picture; from 2 on random ones too.")] = 1,
    epochs: Annotated[int, typer.Option(help="Passes of the linear classifiers over the features.")] = 100,
    out: Out = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Empty the folder --out first.")] = False,
) -> None:
    """Measure a frozen backbone on classes of pictures: neighbours, logistic regression, linear classifiers.

    dinotune probe linear_classifier data=FOLDER backbone=facebook/dinov2-with-registers-base

    Every picture goes through the backbone once. The best linear classifier is kept as a model.
    """
    names, overrides = split_words(words)
    if not names:
        raise SettingsError("probe: name a folder or an experiment, e.g. dinotune probe linear_classifier data=FOLDER")
    from dinotune.config.probe import Probe
    from dinotune.starting.suggestion import load_start

    settings = Probe.checked(views=views, epochs=epochs)
    loaded = load_start(names[0], names[1:], overrides)
    from dinotune import probing

    probing.probe(loaded.experiment, settings, out=out, overwrite=overwrite, notes=loaded.notes)


@app.command()
def check(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER|EXPERIMENT MODIFIER KEY=VALUE",
            help="Folder of a data set, recipe, YAML file or run folder; then modifiers of it, and settings to change.",
        ),
    ],
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything as .json or .txt.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every problem, not the first 20 of a kind.")] = False,
) -> None:
    """Name every broken file, line and box of a data set; for an experiment, also what training would do."""
    names, overrides = split_words(words)
    if not names:
        raise SettingsError("check: name a folder or an experiment, e.g. dinotune check data/helmets")
    from dinotune import checking

    if not checking.report_check(names, overrides, report=report, everything=everything):
        raise typer.Exit(1)


@app.command()
def cache(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPERIMENT MODIFIER KEY=VALUE", help="What to train, as for train."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Print all caches.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the caches of the experiment.")] = False,
) -> None:
    """Compute what the frozen part of an experiment's backbone makes of its pictures; list and remove such caches."""
    names, overrides = split_words(words)
    if listing and delete:
        raise SettingsError("cache: --list shows all caches and --delete removes those of an experiment; take one")
    if not names and not listing:
        raise SettingsError("cache: name an experiment: dinotune cache cached_deformable_detr data=FOLDER; or --list")
    from dinotune.starting.suggestion import load_start

    loaded = load_start(names[0], names[1:], overrides) if names else load_experiment("quickstart", (), overrides)
    from dinotune import caching

    if listing:
        caching.print_caches(loaded.experiment.feature_cache)
    else:
        (caching.delete if delete else caching.fill)(loaded.experiment)


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="Folder of a data set.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help=f"What to write: {FORMATS}.")],
    overrides: Overrides = None,
    pictures: Annotated[Literal["copy", "link", "none"], typer.Option(help="none leaves them.")] = "copy",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier conversion.")] = False,
) -> None:
    """Write every split of a data set in another format, and say what that cannot hold."""
    words = only_overrides(overrides)
    from dinotune import converting

    converting.report_conversion(
        converting.convert(folder, out, to, pictures=pictures, overwrite=overwrite, overrides=words)
    )


@app.command()
def evaluate(
    source: Source,
    overrides: Overrides = None,
    split: Annotated[str | None, typer.Option(help="train, val or test; none takes the run's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; none takes one in the run's evaluations.")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures to draw, truth beside prediction.")] = 0,
) -> None:
    """Measure a model on a data set."""
    words = only_overrides(overrides)
    _check_evaluation(source, [*words, *([f"evaluation.split={split}"] if split else [])], out)
    from dinotune import api, listings

    listings.print_metrics(api.evaluate(source, overrides=words, split=split, out=out, pictures=pictures))


@app.command()
@options_of(Prediction)
def predict(
    source: Source,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, and videos.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("predictions"),
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    **options: Any,
) -> None:
    """Predict on pictures and videos: writes JSON, drawn copies, and labels to correct by hand."""
    settings = Prediction.checked(**options)
    missing = [str(path) for path in (source, *pictures) if not path.exists()]
    if missing:
        raise DinotuneError(f"predict: there is no {', '.join(missing)}; paths are relative to {Path.cwd()}")
    check_folder(out)
    find_checkpoint(source)
    from dinotune import api

    print(f"Predictions: {api.predict_files(source, pictures, out=out, settings=settings, device=device)}")


@app.command()
def backbones(
    size: Annotated[
        tuple[int, int] | None, typer.Option(metavar="HEIGHT WIDTH", help="Picture size for the grid.")
    ] = None,
) -> None:
    """Print the DINO models with their true numbers."""
    from dinotune import listings

    if size is not None and min(size) < 1:
        raise SettingsError(f"--size: {size[0]} {size[1]} is wrong; give height and width in pixels, e.g. 480 640")
    listings.print_backbones(size)


@app.command("list")
def list_(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    folder: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
) -> None:
    """Print the recipes, all settings, the heads, or the runs so far."""
    from dinotune import listings

    match what:
        case Listing.RECIPES:
            listings.print_recipes()
        case Listing.SETTINGS:
            listings.print_settings()
        case Listing.HEADS:
            listings.print_heads()
        case Listing.RUNS:
            listings.print_runs(folder)


@app.command()
def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print facts and findings as JSON, for a report.")] = False,
) -> None:
    """Look at this machine: versions, GPU and driver, memory, disk, weights; status 1 if it cannot train."""
    from dinotune.doctor import collect, report, rules

    facts = collect.collect()
    findings = rules.examine(facts)
    print(json.dumps(report.as_json(facts, findings), indent=2) if json_ else report.page(findings))
    if not report.can_train(findings):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment, for editors."""
    from dinotune.config.reference import experiment_schema

    print(json.dumps(experiment_schema(), indent=2, ensure_ascii=False))


def _check_evaluation(source: Path, overrides: Sequence[str], out: Path | None) -> None:
    """What can be known without the model: the file, the folder, and settings where the run's lie beside it."""
    from dinotune.training.changes import measured

    find_checkpoint(source)
    check_folder(out or Path())
    folders = [source, *list(source.absolute().parents)[:2]]
    page = next((folder / "experiment.yaml" for folder in folders if (folder / "experiment.yaml").is_file()), None)
    if page is not None:
        measured(page, overrides)
