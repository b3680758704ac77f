"""What classifiers read of pictures, computed once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dinotune import config
from dinotune.data.batches import Batch
from dinotune.data.photometric import training_inputs
from dinotune.device import Precision, autocast
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.model import Model


@dataclass(frozen=True)
class PooledFeatures:
    """Features of pictures in fp32 with the class of each, a row per picture."""

    cls: Float[Tensor, "pictures channels"]
    """The CLS token after the final norm, which neighbours are compared by."""
    pooled: Float[Tensor, "pictures pooled"]
    """What the linear classifier's `pooling` reads."""
    labels: Int64[Tensor, "pictures"]
    """0-based class indices."""
    image_ids: Int64[Tensor, "pictures"]

    def __len__(self) -> int:
        return len(self.labels)


@torch.no_grad()
def compute_features(
    model: Model,
    batches: Iterable[Batch],
    precision: Precision,
    on_batch: Callable[[Batch], None] = lambda _: None,
    *,
    augmentation: config.Augmentation | None = None,
    seed: int = 0,
) -> PooledFeatures:
    """Features of all pictures of the batches on the model's device, sorted by image id; unreadable ones are left out.

    With `augmentation` colours change as in training with this seed.
    """
    assert isinstance(model.head, LinearClassifierHead)
    device = next(model.parameters()).device
    parts = []
    for batch in batches:
        on_batch(batch)
        if len(batch) == 0:
            continue
        moved = batch.to(device)
        assert moved.targets.classes is not None
        images = moved.inputs if augmentation is None else training_inputs(moved, augmentation, seed)
        with autocast(device, precision):
            features = model.eval()(images)
        ids = torch.tensor(batch.image_ids, device=device)
        parts.append((features.cls.float(), model.head.pooled(features).float(), moved.targets.classes, ids))
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    order = columns[3].argsort()
    return PooledFeatures(*(column[order] for column in columns))
