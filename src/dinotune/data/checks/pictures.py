"""Opens and decodes pictures, and names those that training could not read or would read in another way.

A JPEG is decoded at an eighth of its size: enough to meet every broken byte, and several times as fast.
"""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from dinotune.data.checks.masks import MaskLook, look_at_mask, look_at_objects
from dinotune.data.images import DECODING_ERRORS, content, orientation, to_rgb
from dinotune.data.mask_files import MaskFile
from dinotune.data.problems import Findings, Kind
from dinotune.data.segments import Segments

MOST_THREADS = 8

PLAIN_MODES = ("RGB", "L", "1", "P")

Remark = tuple[Kind, str]


class Look(NamedTuple):
    """A picture to look at, its height and width as annotated, its mask of classes, and those of its objects."""

    split: str
    path: Path
    hw: tuple[int, int]
    mask: MaskFile | None = None
    segments: Segments | None = None


class Seen(NamedTuple):
    """What is to be said about a picture, the hash of its content where asked for, and what its mask shows."""

    remarks: list[Remark]
    digest: str
    mask: MaskLook | None


def check_pictures(looks: Sequence[Look], findings: Findings, advance: Callable[[], None]) -> dict[str, list[MaskLook]]:
    """Decode all pictures and their masks, read those of their objects, and note what is wrong, also pictures with the same content.

    `advance` is called for each picture. Returns what the masks of each split show.
    """
    masks: dict[str, list[MaskLook]] = {}
    threads = min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_THREADS
    )
    # Pillow warns of pictures that are large or oddly tagged; filters hold for all threads, so they are set here.
    with ThreadPoolExecutor(threads) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = list(pool.map(_file_size, (look.path for look in looks)))
        of_size = Counter(sizes)
        hashed = [of_size[size] > 1 and size > 0 for size in sizes]
        first: dict[str, Look] = {}
        for look, (remarks, digest, shown) in zip(looks, pool.map(_look, looks, hashed), strict=True):
            for kind, message in remarks:
                findings.add(kind, look.path, message)
            if look.mask is not None and shown is not None:
                masks.setdefault(look.split, []).append(shown)
                if shown.problem is not None:
                    findings.add(shown.problem[0], look.mask.path, shown.problem[1])
            if digest and (known := first.setdefault(digest, look)) is not look:
                _note_copy(known, look, findings)
            advance()
    return masks


def _note_copy(known: Look, look: Look, findings: Findings) -> None:
    if known.split == look.split:
        findings.add(Kind.REPEATED_PICTURE, look.path, f"the same content as {known.path}")
    else:
        findings.add(
            Kind.SHARED_PICTURE, look.path, f"in {look.split}, with the same content as {known.path} in {known.split}"
        )


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _look(look: Look, hashed: bool) -> Seen:
    remarks = look_at(look.path, look.hw)
    remarks += [] if look.segments is None else look_at_objects(look.segments, look.hw)
    mask = None if look.mask is None else look_at_mask(look.mask, look.hw)
    # Broken copies are named once each; that they are copies helps nobody.
    if not hashed or any(kind.value.stops for kind, _ in remarks):
        return Seen(remarks, "", mask)
    return Seen(remarks, hashlib.sha256(look.path.read_bytes()).hexdigest(), mask)


def look_at(path: Path, annotated_hw: tuple[int, int]) -> list[Remark]:
    """What is wrong or unusual with a picture that was annotated at a height and width; nothing for a plain one."""
    try:
        with Image.open(path) as image:
            remarks = [*_size_remarks(image, annotated_hw), *_kind_remarks(image, path)]
            image.draft("RGB", (max(image.width // 8, 1), max(image.height // 8, 1)))
            image.load()
            if image.mode.startswith(("I", "F")):
                to_rgb(image)  # refuses pixels that are not finite
        return remarks
    except Image.DecompressionBombError as error:
        return [(Kind.HUGE_PICTURE, str(error))]
    except UnidentifiedImageError:
        return [(Kind.NOT_A_PICTURE if path.stat().st_size else Kind.EMPTY_FILE, content(path))]
    except DECODING_ERRORS as error:
        return [(Kind.UNREADABLE_PICTURE, f"broken: {error}")]


def _size_remarks(image: Image.Image, annotated_hw: tuple[int, int]) -> list[Remark]:
    """By the rule of `read_image`: rotated by EXIF if that fits the annotated size, else as stored if that fits."""
    exif, stored = orientation(image), (image.height, image.width)
    turned = stored[::-1] if exif > 4 else stored
    if turned == annotated_hw:
        return []
    annotated = f"annotated as {annotated_hw[1]} x {annotated_hw[0]} (width x height)"
    if stored == annotated_hw:
        return [(Kind.ROTATED_PICTURE, f"EXIF orientation {exif} does not fit: {annotated}")]
    return [(Kind.WRONG_SIZE, f"{turned[1]} x {turned[0]} pixels, but {annotated}")]


def _kind_remarks(image: Image.Image, path: Path) -> list[Remark]:
    remarks = []
    named = Image.registered_extensions().get(path.suffix.lower())
    # MPO is a JPEG with further pictures behind it, as phones write it.
    if image.format != named and (named, image.format) != ("JPEG", "MPO"):
        remarks.append((Kind.OTHER_FORMAT, f"{image.format} inside a file that is named {path.suffix}"))
    if image.mode not in PLAIN_MODES or "transparency" in image.info:
        transparent = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
        remarks.append((Kind.OTHER_COLOURS, f"{image.mode}{', laid on white' if transparent else ''}"))
    return remarks
