"""Where the class lists of a data set lie, and its pictures."""

from pathlib import Path

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace
from dinotune.data.formats.class_list.table import is_class_list

LOOKED_FOR = "SPLIT.csv or SPLIT.txt with a picture and its class per line"


def find_class_list(root: Path) -> dict[str, SplitPlace]:
    """Splits by name (`train`, `val`, `test`); empty where nothing is found."""
    found = {}
    for split in SPLIT_ALIASES:
        if place := class_list_of(root, split):
            found[split] = place
    return found


def class_list_of(root: Path, split: str) -> SplitPlace | None:
    """The list of one split: `val.csv`, `val.txt`, `val_labels.csv`, `val_annotations.txt`, `LOC_val_solution.csv`, also in the split's folder."""
    for alias in SPLIT_ALIASES[split]:
        names = (alias, f"{alias}_labels", f"{alias}_annotations", f"LOC_{alias}_solution")
        places = [
            folder / f"{name}{suffix}"
            for folder in (root, root / alias)
            for name in names
            for suffix in (".csv", ".txt")
        ]
        for path in places:
            if path.is_file() and is_class_list(path):
                return SplitPlace(path, class_list_folders(path, root, split))
    return None


def class_list_folders(annotations: Path, root: Path | None, split: str) -> tuple[Path, ...]:
    """Where the pictures of a list may lie, best guess first."""
    base = root or annotations.parent
    inner = [base / outer / alias for alias in SPLIT_ALIASES[split] for outer in ("", "images")]
    nested = [folder / "images" for folder in inner]
    return (*inner, *nested, base / "images", annotations.parent, base)
