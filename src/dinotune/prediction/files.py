"""Predict on files, folders and videos; write JSON, drawn pictures and labels.

Pictures are read ahead and drawn in threads while the network computes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dinotune import config
from dinotune.data.images import read_image
from dinotune.data.streams import THREADS, ahead
from dinotune.errors import DataError, SettingsError
from dinotune.files import check_folder, distinct_names, write_json
from dinotune.heap import freed_memory_kept
from dinotune.prediction.progress import counting, say
from dinotune.prediction.sources import is_video, picture_files, picture_suffixes
from dinotune.prediction.video import predict_video
from dinotune.predictors.base import PLAIN, Answered, Predictor
from dinotune.predictors.load import load_predictor
from dinotune.tasks.detection.labels import check_names
from dinotune.tasks.drawings import save_drawing

OF_PICTURES = {"yolo", "coco", "csv", "masks"}
"""What is written of pictures, and not of videos."""


def predict_files(
    source: Path | str,
    pictures: Sequence[Path | str],
    *,
    out: Path | str,
    settings: config.Prediction = PLAIN,
    device: str = "auto",
) -> Path:
    """Predict on files, on all pictures below folders and on videos.

    Writes `predictions.json`, `pictures/` and the data sets `yolo/` and `coco/`, `masks/` or `predictions.csv` for pictures, `videos/NAME.mp4` and
    `videos/NAME.json` for videos, as far as `settings.write` asks for them.

    Args:
        source: Run folder or checkpoint file.
        pictures: Files and folders; videos in folders are left alone.
        out: Folder for the results; files of the same names are replaced, others stay.
        settings: Threshold, tiles, batches, and what to write.
        device: Where to compute, as the setting of this name.

    Returns:
        The folder with the results.

    Raises:
        DataError: pictures or videos that cannot be read, named after all others are done and written.
        SettingsError: settings that do not go with what is there to predict on.
        KeyboardInterrupt: after what was predicted so far is written.
    """
    out = Path(out)
    check_folder(out)
    found = _found(pictures, out)
    videos = [path for path in found if is_video(path)]
    found = [path for path in found if not is_video(path)]
    _check(settings, found, videos)
    predictor = load_predictor(source, device)
    if foreign := [kind for kind in settings.write if kind not in predictor.writes]:
        raise SettingsError(
            f"write: no {foreign[0]} of this model's {predictor.found}; it has {', '.join(sorted(predictor.writes))}"
        )
    predictor.check(settings)
    say(predictor.describe_threshold(settings.threshold))
    with freed_memory_kept(predictor.device):
        failures = _predict_pictures(predictor, found, out, settings) if found else []
        for video, name in zip(videos, distinct_names(videos, ".mp4"), strict=True):
            try:
                predict_video(predictor, video, out / "videos" / name, settings)
            except DataError as error:
                failures.append(str(error))
    if failures:
        count = len(found) + len(videos)
        rest = f"{len(failures)} of {count} files left out; the rest is in {out}"
        raise DataError("\n".join([*failures, rest if len(failures) < count else "none of the files could be read"]))
    return out


def _found(pictures: Sequence[Path | str], out: Path) -> list[Path]:
    # Pictures put into `out` before are results, even where `out` lies in a folder of pictures.
    results = {(out / name).resolve() for name in ("pictures", "yolo", "coco", "masks")}
    files = list(dict.fromkeys(picture_files(pictures)))
    found = [path for path in files if results.isdisjoint(path.absolute().parents)]
    if files and not found:
        raise SettingsError(f"out: all pictures lie in {files[0].parent}, where results go; name another folder")
    if not found:
        suffixes = ", ".join(sorted(picture_suffixes()))
        raise DataError(
            f"no pictures in {', '.join(map(str, pictures))}; looked for {suffixes}; name videos one by one"
        )
    return found


def _check(settings: config.Prediction, pictures: Sequence[Path], videos: Sequence[Path]) -> None:
    """What can go wrong is said before the model is loaded."""
    check_names(pictures, settings.write)
    if settings.every > 1 and not videos:
        raise SettingsError(f"every: {settings.every} is for videos, but there are pictures only; leave it out")
    foreign = [kind for kind in settings.write if kind in OF_PICTURES]
    if videos and foreign:
        raise SettingsError(
            f"write: {', '.join(foreign)} is for pictures; leave out {videos[0]}, or save its frames as pictures"
        )


@dataclass(frozen=True)
class _Opened:
    """A picture to predict on, or why it cannot be read."""

    index: int
    path: Path
    image: Image.Image | None
    problem: str = ""


@dataclass(frozen=True)
class _Result:
    """What is known of a picture in the end."""

    index: int
    entry: dict[str, Any]
    answered: Answered[Any] | None
    """Where something is written of all answers together."""


def _open(item: tuple[int, Path]) -> _Opened:
    try:
        return _Opened(*item, read_image(item[1]))
    except DataError as error:
        return _Opened(*item, None, str(error))


def _predict_pictures(
    predictor: Predictor[Any], paths: Sequence[Path], out: Path, settings: config.Prediction
) -> list[str]:
    """Write the results of all pictures; returns a sentence for each that cannot be read."""
    names = distinct_names(paths, "")
    held = not predictor.together.isdisjoint(settings.write)
    failures: dict[int, str] = {}
    results: list[_Result] = []

    def readable(opened: Iterator[_Opened]) -> Iterator[tuple[_Opened, Image.Image]]:
        for picture in opened:
            if picture.image is None:
                failures[picture.index] = picture.problem
            else:
                yield picture, picture.image

    def finish(predicted: tuple[_Opened, Any]) -> _Result:
        picture, answer = predicted
        assert picture.image is not None
        if "pictures" in settings.write:
            save_drawing(predictor.draw(picture.image, answer), out / "pictures" / f"{names[picture.index]}.jpg")
        predictor.write_one(answer, out, names[picture.index], settings.write)
        size = {"width": picture.image.width, "height": picture.image.height}
        entry = {"file": str(picture.path), **size, predictor.found: predictor.entries(answer)}
        answered = Answered(picture.path, picture.index + 1, (picture.image.height, picture.image.width), answer)
        return _Result(picture.index, entry, answered if held else None)

    with counting(str(out), len(paths), "pictures", predictor.noun) as counter, ThreadPoolExecutor(THREADS) as pool:
        try:
            opened = ahead(pool, _open, enumerate(paths), THREADS)
            for result in ahead(pool, finish, predictor.stream(readable(opened), settings), THREADS):
                results.append(result)
                counter.advance(len(result.entry[predictor.found]))
        finally:
            # Also after Ctrl-C: nothing that was computed is lost.
            _write(predictor, sorted(results, key=lambda result: result.index), out, settings)
    return [problem for _, problem in sorted(failures.items())]


def _write(predictor: Predictor[Any], results: Sequence[_Result], out: Path, settings: config.Prediction) -> None:
    if "json" in settings.write:
        content = {**predictor.heading(settings.threshold), "pictures": [result.entry for result in results]}
        write_json(out / "predictions.json", content)
    if answered := [result.answered for result in results if result.answered is not None]:
        predictor.write(answered, out, settings.write)
