"""Predict on files and folders: one JSON file and a drawn picture for each; draw an evaluation's pictures."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dinotune.data.images import read_image
from dinotune.errors import DataError
from dinotune.evaluation import Evaluation
from dinotune.files import check_folder, write_json
from dinotune.predictor import load_predictor
from dinotune.tasks.detection import above_thresholds, to_supervision, truth_to_supervision
from dinotune.tasks.drawing import draw_comparison, draw_detections

if TYPE_CHECKING:
    import supervision as sv


def predict_files(
    source: Path | str,
    pictures: Sequence[Path | str],
    *,
    out: Path | str,
    threshold: float | None = None,
    device: str = "auto",
) -> Path:
    """Predict on files and on all pictures below folders; write `predictions.json` and `pictures/`.

    Args:
        source: Run folder or checkpoint file.
        pictures: Files and folders.
        out: Folder for the results; files of the same names are replaced.
        threshold: Lowest score; none takes each class's best-F1 score.
        device: Where to compute, as the setting of this name.

    Returns:
        The folder with the results.

    Raises:
        DataError: pictures that cannot be read, named after all others are done and written.
    """
    out = Path(out)
    check_folder(out)
    # Pictures drawn into `out` before are results, even where `out` lies in a folder of pictures.
    found = [path for path in picture_files(pictures) if (out / "pictures").resolve() not in path.resolve().parents]
    if not found:
        raise DataError(f"no pictures in {', '.join(map(str, pictures))}; looked for {', '.join(sorted(_suffixes()))}")
    predictor = load_predictor(source, device)
    entries, failures = [], []
    for path, drawn in zip(found, _names(found), strict=True):
        try:
            image = read_image(path)
        except DataError as error:
            failures.append(str(error))
            continue
        detections = predictor.predict(image, threshold)
        entries.append(_entry(path, image, detections))
        _save(draw_detections(image, detections), out / "pictures" / drawn)
    write_json(out / "predictions.json", {"classes": list(predictor.labels.names), "pictures": entries})
    if failures:
        raise DataError(
            "\n".join([*failures, f"{len(failures)} of {len(found)} pictures left out; the rest is in {out}"])
        )
    return out


def picture_files(sources: Sequence[Path | str]) -> Iterator[Path]:
    """Files as they are, and every picture below the folders, sorted by path."""
    for source in map(Path, sources):
        if source.is_dir():
            yield from sorted(path for path in source.rglob("*") if path.suffix.lower() in _suffixes())
        elif source.is_file():
            yield source
        else:
            raise DataError(f"{source}: no such file or folder")


def _suffixes() -> set[str]:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return readable & {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


def _names(paths: Sequence[Path]) -> list[str]:
    """A file name for each drawn picture; stems that clash are numbered."""
    names: dict[str, None] = {}
    for path in paths:
        stems = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
        names[next(name for stem in stems if (name := f"{stem}.jpg") not in names)] = None
    return list(names)


def _entry(path: Path, image: Image.Image, detections: "sv.Detections") -> dict[str, Any]:
    assert detections.confidence is not None
    columns = (detections.data["class_name"], detections.confidence, detections.xyxy)
    return {
        "file": str(path),
        "width": image.width,
        "height": image.height,
        "detections": [
            {"class": str(name), "score": round(float(score), 4), "box_xyxy": [round(float(side), 2) for side in box]}
            for name, score, box in zip(*columns, strict=True)
        ],
    }


def draw_pictures(evaluation: Evaluation, folder: Path, count: int) -> None:
    """Draw the first `count` pictures of an evaluation, truth beside prediction."""
    records, labels = evaluation.records, evaluation.records.labels
    shown = [records[index] for index in range(min(count, len(records)))]
    for record, name in zip(shown, _names([record.path for record in shown]), strict=True):
        rows = evaluation.detected.select(evaluation.detected.image_ids == record.image_id)
        predicted = to_supervision(above_thresholds(rows, labels, evaluation.metrics.thresholds), labels)
        image = read_image(record.path, (record.height, record.width))
        drawn = draw_comparison(image, truth_to_supervision(record, labels), predicted)
        _save(drawn, folder / name)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)
