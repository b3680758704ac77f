"""The nearest right word for a wrong one: keys of settings, across sections and kinds, and any other names."""

import difflib
from collections.abc import Iterable, Sequence

from dinotune.config.experiment import Experiment
from dinotune.config.fields import Place, walk

OTHER_NAMES = {
    "lr": "training.learning_rate",
    "wd": "training.weight_decay",
    "batch": "training.batch_size",
    "bs": "training.batch_size",
    "max_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "optim": "training.optimizer",
    "scheduler": "training.schedule",
    "lr_scheduler": "training.schedule",
    "grad_clip": "training.clip",
    "clip_grad": "training.clip",
    "gradient_clip": "training.clip",
    "amp": "training.precision",
    "warmup": "training.warmup_steps",
    "num_workers": "data.workers",
    "dataset": "data.root",
    "data_root": "data.root",
    "augment": "data.augmentation",
    "min_size": "data.size",
    "imgsz": "data.size",
    "image_size": "data.size",
    "img_size": "data.size",
    "model": "backbone.id",
    "model_id": "backbone.id",
    "layers": "backbone.blocks",
    "unfreeze": "backbone.trainable",
    "random_seed": "seed",
}
"""Words of other projects for settings of ours."""


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like a word, whatever the case, or None if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``; did you mean "voc"?``, or nothing."""
    known = list(candidates)
    contains = (candidate for candidate in known if len(word) > 2 and word.lower() in candidate.lower())
    found = nearest(word, known) or next(contains, None)
    return f'; did you mean "{found}"?' if found else ""


def unknown_key(path: Sequence[str], neighbours: Sequence[str]) -> str:
    """What to say about a key that does not exist.

    Args:
        path: Where it was written.
        neighbours: The keys that exist at that place.
    """
    key = path[-1]
    here = nearest(key, neighbours, cutoff=0.7)
    if here:
        return f'unknown key; did you mean "{here}"?'
    of_kind = _of_another_kind(path)
    if of_kind:
        return f'unknown key; it belongs to kind "{of_kind.kind}": set {".".join(path[:-1])}={of_kind.kind}'
    elsewhere = _elsewhere(key)
    if elsewhere:
        return f'unknown key; did you mean "{elsewhere}"?'
    near = nearest(key, neighbours, cutoff=0.5)
    if near:
        return f'unknown key; did you mean "{near}"?'
    return f"unknown key; there are {', '.join(neighbours)}" if neighbours else "unknown key; remove it"


def _of_another_kind(path: Sequence[str]) -> Place | None:
    return next((place for place in walk(Experiment) if place.path == tuple(path)), None)


def _elsewhere(key: str) -> str | None:
    if key.lower() in OTHER_NAMES:
        return OTHER_NAMES[key.lower()]
    places = sorted(walk(Experiment), key=lambda place: len(place.path))
    by_name: dict[str, str] = {}
    for place in places:
        by_name.setdefault(place.path[-1], place.key)
    found = nearest(key, by_name, cutoff=0.8)
    return by_name[found] if found else None
