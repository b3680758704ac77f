"""Where weights come from: an explicit path, DINOTUNE_WEIGHTS, the local hub cache, the hub, in this order.

Loads no torch.
"""

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dinotune.backbones.hub import cached_snapshot, explain_refusal, fetch_snapshot, is_hub_id
from dinotune.backbones.variants import TINY_IDS, VARIANTS, find_variant
from dinotune.errors import WeightsError

ENVIRONMENT_VARIABLE = "DINOTUNE_WEIGHTS"
FILE_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Source:
    """A snapshot folder or a weight file on this machine."""

    path: Path
    found: str
    """How it was found: `path`, `DINOTUNE_WEIGHTS`, `hub cache` or `hub`."""


def locate(id_: str) -> Source:
    """Weights of a hub id or path; only ids that are nowhere on this machine ask the hub.

    Raises:
        WeightsError: a path that does not exist, an id that no hub can have, or the hub's refusal
            with the ways out.
    """
    if is_path_like(id_):
        return _explicit(id_)
    local = locate_locally(id_)
    if local is not None:
        return local
    if not is_hub_id(id_):
        raise WeightsError(_unknown(id_))
    return Source(fetch_snapshot(id_), "hub")


def out_of_reach(id_: str, patience: float) -> str | None:
    """One page of help where `locate` could not get a hub id from here, or none; downloads nothing.

    The hub has `patience` seconds to answer.

    Raises:
        WeightsError: a path that does not exist, or an id that no hub can have.
    """
    if is_path_like(id_):
        _explicit(id_)
        return None
    if locate_locally(id_) is not None:
        return None
    if not is_hub_id(id_):
        raise WeightsError(_unknown(id_))
    return explain_refusal(id_, patience)


def locate_locally(id_: str) -> Source | None:
    """Weights of a hub id in the DINOTUNE_WEIGHTS folder or the local hub cache."""
    root = os.environ.get(ENVIRONMENT_VARIABLE)
    if root:
        path = _in_folder(Path(root).expanduser(), id_)
        if path is not None:
            return Source(path, ENVIRONMENT_VARIABLE)
    cached = cached_snapshot(id_)
    return Source(cached, "hub cache") if cached else None


def is_path_like(id_: str) -> bool:
    """Whether a setting means a path of this machine rather than a hub id."""
    path = Path(id_).expanduser()
    return (
        id_.startswith((".", "/", "~"))
        or id_.endswith(FILE_SUFFIXES)
        or path.is_absolute()
        or path.exists()
        or id_.count("/") > 1
        or (os.sep in id_ and path.parent.is_dir())
    )


def _explicit(id_: str) -> Source:
    path = Path(id_).expanduser()
    if path.is_dir() or (path.is_file() and path.name.endswith(FILE_SUFFIXES)):
        return Source(path, "path")
    if path.is_file():
        raise WeightsError(f"backbone.id: {id_} is no weight file; use one that ends in {', '.join(FILE_SUFFIXES)}")
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    near = difflib.get_close_matches(path.name, [entry.name for entry in parent.iterdir()], n=1)
    hint = (
        f'; did you mean "{parent / near[0]}"?' if near and parent == path.parent else f"; {parent.resolve()} is there"
    )
    raise WeightsError(f"backbone.id: {id_} does not exist{hint}")


def _in_folder(root: Path, id_: str) -> Path | None:
    if not root.is_dir():
        raise WeightsError(f"{ENVIRONMENT_VARIABLE}: {root} is no folder; set it to the folder that holds your weights")
    for name in (id_, id_.replace("/", "--")):
        if (root / name).is_dir() or (root / name).is_file():
            return root / name
    variant = find_variant(id_)
    if variant is None or id_ != variant.id:
        return None
    return next((file for file in sorted(root.glob("*.pth")) if re.fullmatch(variant.pth_pattern, file.name)), None)


def _unknown(id_: str) -> str:
    known = [*TINY_IDS, *(variant.id for variant in VARIANTS), *(variant.timm_id for variant in VARIANTS)]
    by_tail = {name.split("/")[-1]: name for name in known}
    near = difflib.get_close_matches(id_, by_tail, n=1, cutoff=0.5)
    use = f'did you mean "{by_tail[near[0]]}"?' if near else f'use an id such as "{VARIANTS[4].id}" or a path'
    return f'backbone.id: "{id_}" is neither a hub id (owner/name), nor a path that exists, nor a tiny backbone; {use}'
