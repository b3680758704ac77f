"""Which mask belongs to which picture: the same path below their folders, but for the ends of their stems."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dinotune.data.formats.base import SplitPlace, pictures_below
from dinotune.data.problems import FileError, Findings, Kind, Problem, some

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
"""Of files that keep every pixel as it was; JPEG does not."""

PICTURE_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".bmp", ".tif", ".tiff", ".webp")

PICTURE_ENDS = ("", "_leftImg8bit", "_image", "_img", "_sat")
MASK_ENDS = (
    "", "_gtFine_labelIds", "_gtCoarse_labelIds", "_labelIds", "_mask", "_masks", "_seg", "_segmentation", "_label",
    "_labels", "_gt", "_annotation", "_semantic", "_L", "-mask", "-seg", "-label",
)  # fmt: skip
"""What stems of pictures and of masks may end in beyond what they share; other files beside them are left alone."""

FIRST_FILES, FIRST_MASKS = 2000, 50
"""So many files of a folder are looked at, and so many masks, to see whether they belong to pictures."""


class Ends(NamedTuple):
    """What the stems of pictures and masks end in."""

    picture: str = ""
    mask: str = ""


class Pair(NamedTuple):
    """A picture and its mask."""

    picture: Path
    mask: Path


def ends_of(masks: Path, pictures: Path, mask_ends: Sequence[str] = MASK_ENDS, pattern: str = "**/*") -> Ends | None:
    """How the stems of two folders pair up; none where no mask among the first has a picture."""
    if not masks.is_dir() or not pictures.is_dir():
        return None
    files = (path for path in islice(masks.glob(pattern), FIRST_FILES) if is_mask_name(path))
    for mask in sorted(islice(files, FIRST_MASKS)):
        for end in (end for end in mask_ends if mask.stem.endswith(end) and (end or masks != pictures)):
            key = mask.relative_to(masks).with_name(mask.stem.removesuffix(end))
            if (found := _end_of_picture(pictures / key, mask)) is not None:
                return Ends(found, end)
    return None


def is_mask_name(path: Path) -> bool:
    """Whether a file's name is that of a mask."""
    return path.suffix.lower() in MASK_SUFFIXES and not path.name.startswith(".")


def _end_of_picture(key: Path, mask: Path) -> str | None:
    for end in PICTURE_ENDS:
        names = (key.with_name(f"{key.name}{end}{suffix}") for suffix in PICTURE_SUFFIXES)
        if any(path != mask and path.is_file() for path in names):
            return end
    return None


def find_pairs(place: SplitPlace, findings: Findings, mask_ends: Sequence[str] = MASK_ENDS) -> list[Pair]:
    """Pictures of a split with their masks, in sorted order; what has no partner goes into `findings`.

    Raises:
        FileError: there are no pictures, or none has a mask.
    """
    masks, folder = place.annotations, _picture_folder(place, mask_ends)
    ends = ends_of(masks, folder, mask_ends) or Ends()
    pictures = _pictures(folder, masks, ends, findings)
    files = dict(_keyed(masks, ends.mask, [path for path in pictures_below(masks) if is_mask_name(path)]))
    listed = _listed(place, pictures, findings)
    pairs = [Pair(pictures[key], files[key]) for key in listed if key in files]
    if not pairs:
        message = f"no mask for any of {len(listed)} pictures in {folder}; a mask has the stem of its picture"
        raise FileError(Problem(Kind.MISSING_MASK, masks, message))
    for key in listed:
        if key not in files:
            findings.add(Kind.MISSING_MASK, pictures[key], f"no {key}{ends.mask}.png in {masks}")
    if place.listing is None:
        for key in files.keys() - pictures.keys():
            findings.add(Kind.ORPHAN_MASK, files[key], f"no picture {key}{ends.picture}.* in {folder}")
    return pairs


def _picture_folder(place: SplitPlace, mask_ends: Sequence[str]) -> Path:
    """The first folder with a picture that has a mask; else the first that exists."""
    paired = (folder for folder in place.image_folders if ends_of(place.annotations, folder, mask_ends))
    present = (folder for folder in place.image_folders if folder.is_dir())
    found = next(paired, None) or next(present, None)
    if found is None:
        message = f"no folder of pictures; searched {some(place.image_folders, 6)}. Name it with data.SPLIT.images"
        raise FileError(Problem(Kind.MISSING_PICTURE, place.annotations, message))
    return found


def _pictures(folder: Path, masks: Path, ends: Ends, findings: Findings) -> dict[str, Path]:
    """Pictures by what they share with their masks, but for those that share it with each other."""
    found: dict[str, list[Path]] = {}
    paths = pictures_below(folder)
    if folder == masks:
        paths = _without_masks(paths, ends.mask)
    elif masks.is_relative_to(folder):
        paths = [path for path in paths if not path.is_relative_to(masks)]
    for key, path in _keyed(folder, ends.picture, paths):
        found.setdefault(key, []).append(path)
    for key, sharing in found.items():
        if len(sharing) > 1:
            message = f"{some(path.name for path in sharing)} share the mask {key}{ends.mask}.*; rename or delete one"
            findings.add(Kind.CLASHING_STEMS, sharing[0], message)
    return {key: sharing[0] for key, sharing in found.items() if len(sharing) == 1}


def _without_masks(paths: list[Path], end: str) -> list[Path]:
    """Those that are pictures where masks lie beside them: other files than masks, of a suffix that a picture has."""
    masks = {path.with_name(path.stem.removesuffix(end)) for path in paths if path.stem.endswith(end)}
    others = [path for path in paths if not path.stem.endswith(end)]
    suffixes = {path.suffix for path in others if path.with_suffix("") in masks}
    return [path for path in others if path.suffix in suffixes]


def _keyed(folder: Path, end: str, paths: list[Path]) -> Iterator[tuple[str, Path]]:
    """Files under their path below the folder without the end of the stem, of those whose stem has it."""
    for path in paths:
        if path.stem.endswith(end):
            below = path.relative_to(folder)
            yield below.with_name(path.stem.removesuffix(end)).as_posix(), path


def _listed(place: SplitPlace, pictures: dict[str, Path], findings: Findings) -> list[str]:
    """The pictures of the split: all, or those that its list names."""
    if place.listing is None:
        return list(pictures)
    text = place.listing.read_text(encoding="utf-8-sig", errors="replace")
    found: dict[str, None] = {}
    for line, written in enumerate(text.splitlines(), 1):
        if not (key := written.strip()):
            continue
        if key in pictures:
            found[key] = None
        else:
            findings.add(Kind.MISSING_PICTURE, place.listing, f"no picture {key}.*", line=line)
    return list(found)
