"""Fixed views: every picture is seen in a few ways, drawn once for all epochs, of which each batch takes one.

What a frozen backbone makes of them can then be computed once. The first views show the whole picture, as it is and
mirrored; the others are drawn as in any training. All pictures of a batch are seen in their view of the same number,
as that decides the size of the network input.
"""

import numpy as np

from dinotune import config

MIRRORED = 1
"""Number of the view that shows the whole picture mirrored, where `flip` allows it."""

WHICH, SCALE = 6, 2
"""Keys that keep the draws of one seed apart from each other and from those of samplers and loader."""


def drawn_number(seed: int, epoch: int, batch: int, views: int) -> int:
    """Number of the view that a batch of an epoch shows."""
    return int(np.random.default_rng([seed, WHICH, epoch, batch]).integers(views))


def drawn_step(seed: int, view: int, steps: int, augmentation: config.Augmentation) -> int:
    """Which of the `steps` scales or sizes a view has: the middle one where it shows the whole picture."""
    if view < whole_pictures(augmentation):
        return steps // 2
    return int(np.random.default_rng([seed, SCALE, view]).integers(steps))


def whole_pictures(augmentation: config.Augmentation) -> int:
    """How many of the views show the whole picture; none where crops have another shape."""
    if augmentation.square_crops:
        return 0
    return 2 if augmentation.flip > 0 else 1


def usual_views(augmentation: config.Augmentation) -> int:
    """As many views as are worth keeping: one where nothing is random, two where only mirror images are, else eight."""
    unchanged = config.Augmentation.expand("none")
    random = {name for name, value in unchanged.items() if getattr(augmentation, name) != value}
    return 8 if random - {"flip"} else 2 if random else 1
