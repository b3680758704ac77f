"""Some pictures of a split: drawn by number or share, or listed in a file that a run has kept.

A file lists image ids and the fingerprint of the data set, so that it means the same pictures or is refused.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from dinotune import config
from dinotune.data.problems import counted, some
from dinotune.data.records import Records
from dinotune.data.seeds import mix_seed
from dinotune.errors import DataError
from dinotune.files import write_json

DRAW = 2
"""Key that keeps the draws of one seed apart from the hold-out's (1)."""

Indices = Int64[np.ndarray, "chosen"]


def choose(records: Records, wanted: config.Split, *, dataset: Records, key: str, seed: int) -> Records:
    """The pictures that `limit`, `share` or `subset` leave, in the order of `records`; all where none is set.

    Args:
        records: The split.
        wanted: Its settings.
        dataset: All that was read; more than `records` where validation pictures are held out.
        key: Where the settings stand, for messages: `data.train`.
        seed: Of the run.

    Raises:
        DataError: A subset file cannot be used, was made for another data set, or lists pictures the split lacks.
    """
    if wanted.limit is not None:
        chosen, note = _limited(records, wanted.limit, seed)
    elif wanted.share is not None:
        chosen, note = _shared(records, wanted.share, seed)
    elif wanted.subset is not None:
        chosen, note = _listed(records, wanted.subset, dataset, key)
    else:
        return records
    subset = records.select(np.sort(chosen))
    return replace(subset, subset_of=pictures_fingerprint(dataset), notes=(*records.notes, note))


def pictures_fingerprint(records: Records) -> str:
    """Hash of ids, file names and sizes: corrected boxes and classes leave it, other pictures do not."""
    order = np.argsort(records.image_ids, kind="stable")
    names = [Path(str(path)).name for path in records.paths[order]]
    digest = hashlib.sha256(json.dumps(names).encode())
    for column in (records.image_ids, records.sizes_hw):
        digest.update(np.ascontiguousarray(column[order]).tobytes())
    return digest.hexdigest()


def write_subset(path: Path, records: Records, split: str, seed: int) -> None:
    """Write the list that `data.SPLIT.subset` takes, atomically; nothing where all pictures are used."""
    if records.subset_of:
        ids = records.image_ids.tolist()
        write_json(path, {"dataset": records.subset_of, "split": split, "seed": seed, "image_ids": ids})


def shuffled_by_group(
    ids: Int64[np.ndarray, "images"], groups: Int64[np.ndarray, "images"], generator: np.random.Generator
) -> Int64[np.ndarray, "images"]:
    """Indices in order of group, at random within one; the draw of a picture hangs on its id, not its position."""
    by_id = np.argsort(ids, kind="stable")
    key = np.empty(len(ids))
    key[by_id] = generator.random(len(ids))
    return np.lexsort((key, groups)).astype(np.int64)


def _shuffled(ids: Int64[np.ndarray, "images"], seed: int) -> Int64[np.ndarray, "images"]:
    return shuffled_by_group(ids, np.zeros(len(ids), np.int64), np.random.default_rng([seed, DRAW]))


def _class_by_class(
    ids: Int64[np.ndarray, "images"], labels: Int64[np.ndarray, "images"], seed: int
) -> Int64[np.ndarray, "images"]:
    """Indices in rounds, each with one picture of every class that has any left; a picture's draw hangs on its id alone."""
    key = np.array([mix_seed(seed, DRAW, image_id) for image_id in ids.tolist()])
    by_class = np.lexsort((key, labels))
    first = np.searchsorted(labels[by_class], labels[by_class])
    turn = np.empty(len(ids), np.int64)
    turn[by_class] = np.arange(len(ids)) - first
    return np.lexsort((key, turn)).astype(np.int64)


def _limited(records: Records, limit: int, seed: int) -> tuple[Indices, str]:
    targets = np.concatenate([[0], np.cumsum(~records.crowd)])[records.offsets]
    eligible, among = np.flatnonzero(np.diff(targets) > 0), "among those with boxes"
    if records.image_labels is not None:
        eligible, among = np.arange(len(records)), f"evenly among {counted(len(records.labels), 'class')}"
        line = _class_by_class(records.image_ids, records.image_labels, seed)
    else:
        if records.mask_files is not None:
            eligible, among = np.arange(len(records)), "among all"
        elif len(eligible) == 0:  # a test split without annotations
            eligible, among = np.arange(len(records)), "among all, for none has boxes"
        line = _shuffled(records.image_ids[eligible], seed)
    chosen = eligible[line[:limit]]
    note = f"limit {limit}: {len(chosen)} of {len(records)} pictures used, drawn {among} (seed {seed})"
    return chosen, note


def _shared(records: Records, share: float, seed: int) -> tuple[Indices, str]:
    count = max(1, round(len(records) * share))
    note = f"share {share:g}: {count} of {len(records)} pictures used, drawn among all (seed {seed})"
    return _shuffled(records.image_ids, seed)[:count], note


def _listed(records: Records, file: Path, dataset: Records, key: str) -> tuple[Indices, str]:
    content = _load(file, key)
    ids = _ids_at_indices(content, file, dataset) if "indices" in content else _ids(content, file, dataset, key)
    missing = np.setdiff1d(ids, records.image_ids)
    if len(missing):
        raise DataError(
            f"{file}: {len(missing)} of {len(ids)} pictures are not in {records.name} "
            f"(ids {some(missing)}); correct the list, or, where validation pictures are "
            "held out, take the seed and data.validation_share it was made with"
        )
    chosen = np.flatnonzero(np.isin(records.image_ids, ids))
    return chosen, f"subset {file}: {len(chosen)} of {len(records)} pictures used"


def _load(file: Path, key: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{key}.subset: {file} cannot be read ({error.strerror}); name a JSON file") from None
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from None
    for size, members in (("dataset", "image_ids"), ("dataset_size", "indices")):
        if isinstance(content, dict) and size in content and _whole_numbers(content.get(members)):
            return content
    raise DataError(
        f"{file}: no subset of a data set; it needs `dataset` and a list `image_ids`, as in a run's "
        "subsets/train.json, or `dataset_size` and a list `indices`"
    )


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(n) is int and abs(n) < 2**63 for n in value)


def _ids(content: dict[str, Any], file: Path, dataset: Records, key: str) -> Int64[np.ndarray, "listed"]:
    found = pictures_fingerprint(dataset)
    if content["dataset"] != found:
        raise DataError(
            f"{file}: made for a data set with the fingerprint {str(content['dataset'])[:12]}, but {dataset.name} has "
            f"{found[:12]}; name its data set with data.root, or draw other pictures with {key}.limit"
        )
    return np.array(content["image_ids"], np.int64)


def _ids_at_indices(content: dict[str, Any], file: Path, dataset: Records) -> Int64[np.ndarray, "listed"]:
    """Ids at positions in the annotation file's list of pictures; nothing but its length says which file that is."""
    if content["dataset_size"] != len(dataset):
        raise DataError(
            f"{file}: made for a data set of {content['dataset_size']} pictures, but {dataset.name} has {len(dataset)}; "
            "name its annotation file"
        )
    indices = np.array(content["indices"], np.int64)
    if indices.min() < 0 or indices.max() >= len(dataset):
        raise DataError(
            f"{file}: indices from {indices.min()} to {indices.max()}; they go from 0 to {len(dataset) - 1}"
        )
    return dataset.image_ids[indices]
