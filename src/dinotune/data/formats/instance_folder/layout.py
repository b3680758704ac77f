"""Where the splits of an instance folder lie: as those of mask folders, under other names."""

from pathlib import Path

from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.mask_folder.layout import INSTANCES, Words, find_mask_folder

LOOKED_FOR = (
    "instance_masks/SPLIT/*.png with images/SPLIT, gtFine/SPLIT/*_instanceIds.png, SegmentationObject with JPEGImages"
)

OBJECTS = Words(
    folders=(*INSTANCES, "gtFine", "gtCoarse"),
    ends=("", "_gtFine_instanceIds", "_gtCoarse_instanceIds", "_instanceIds", "_instances", "_instance"),
    voc="SegmentationObject",
)


def find_instance_folder(root: Path) -> dict[str, SplitPlace]:
    """Splits by name (`train`, `val`, `test`); empty where nothing is found."""
    return find_mask_folder(root, OBJECTS)


def is_instance_folder(folder: Path) -> bool:
    """Whether a folder that someone names is called as those with numbers of objects are."""
    return any(path.name in (*INSTANCES, OBJECTS.voc) for path in (folder, folder.parent))
