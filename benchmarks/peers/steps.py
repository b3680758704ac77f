"""A training step on random pictures, the same for every peer: loss, backward, gradients clipped, AdamW."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SIDE, OBJECTS, CLASSES = 384, 8, 80

Target = dict[str, Tensor]


def random_batch(pictures: int) -> tuple[Tensor, list[Target]]:
    """Pictures, and the labels and normalised cxcywh boxes of their objects."""
    torch.manual_seed(0)
    targets = [
        {"labels": torch.randint(CLASSES, (OBJECTS,)), "boxes": torch.rand(OBJECTS, 4) * 0.3 + 0.2}
        for _ in range(pictures)
    ]
    return torch.rand(pictures, 3, SIDE, SIDE), targets


def step_of(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """What lets the model learn once from this loss."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(learning, 0.1)
        optimizer.step()

    return step
