"""Readers of annotation formats into Records; loads no torch."""

from pathlib import Path

from dinotune.data.formats import coco, voc
from dinotune.data.formats.base import SplitPlace
from dinotune.errors import DataError

FINDERS = {"coco": coco.find_coco, "voc": voc.find_voc}
READERS = {"coco": coco.read_coco, "voc": voc.read_voc}


def detect_format(root: Path) -> str:
    """`coco` or `voc`, by the files in a data set's folder; DataError where none or both are found."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; data.root must name the folder of a data set")
    found = [name for name, find in FINDERS.items() if find(root)]
    if len(found) > 1:
        raise DataError(f"{root}: holds {' and '.join(found)} annotations; choose with data.format={found[0]}")
    if not found:
        entries = sorted(path.name for path in root.iterdir())
        raise DataError(
            f"{root}: no annotations found. Looked for COCO ({coco.LOOKED_FOR}) and Pascal VOC ({voc.LOOKED_FOR}), "
            f"SPLIT being train, val or test; the folder holds {', '.join(entries[:10]) or 'nothing'}; "
            "or name the file with data.train.annotations=FILE"
        )
    return found[0]


def find_splits(root: Path, kind: str) -> dict[str, SplitPlace]:
    """Places of the splits (`train`, `val`, `test`) that the folder holds in the given format."""
    return FINDERS[kind](root)
