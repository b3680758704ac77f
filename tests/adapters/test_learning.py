"""Each adapter lets a head in front of a frozen backbone learn more in the same steps."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.adapters.kinds import ADAPTERS, adapted, plain

STEPS, PICTURES, SIDE, CELL = 200, 8, 64, 16


def scenes(step: int) -> tuple[Tensor, Tensor]:
    """Grey noise with a square of one of three colours, and per cell which colour it holds most of; 3 is none."""
    generator = torch.Generator().manual_seed(step)
    images = 0.4 + 0.2 * torch.rand(PICTURES, 1, SIDE, SIDE, generator=generator).expand(-1, 3, -1, -1).clone()
    held = torch.zeros(PICTURES, 4, SIDE, SIDE)
    held[:, 3] = 1
    for image, of_colour in zip(images, held, strict=True):
        left, top, colour = (int(torch.randint(0, limit, (), generator=generator)) for limit in (33, 33, 3))
        place = (slice(top, top + 31), slice(left, left + 31))
        image[(slice(None), *place)] = 0.1
        image[(colour, *place)] = 0.9
        of_colour[(3, *place)] = 0
        of_colour[(colour, *place)] = 1
    return images, functional.avg_pool2d(held, CELL).argmax(1)


def loss_after_training(adapter: str | None) -> float:
    """Mean loss of the last 20 steps of a linear head on the map, on pictures that were never seen before."""
    backbone = plain("tiny-dinov2") if adapter is None else adapted("tiny-dinov2", adapter, shown=False)
    backbone.train()
    torch.manual_seed(0)
    head = nn.Conv2d(backbone.width, 4, 1)
    learning = [*head.parameters(), *(parameter for _, parameter in backbone.adapter_parameters())]
    optimizer = torch.optim.AdamW(learning, lr=3e-3)
    losses = []
    for step in range(STEPS):
        images, colours = scenes(step)
        loss = functional.cross_entropy(head(backbone(images).maps[0]), colours)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-20:]) / 20


@pytest.fixture(scope="module")
def head_alone() -> float:
    return loss_after_training(None)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_beats_the_head_alone(adapter: str, head_alone: float) -> None:
    found = loss_after_training(adapter)
    assert found < 0.9 * head_alone
