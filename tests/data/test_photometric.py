"""Colour changes: against a slow picture-by-picture reference, and what must not change."""

import colorsys

import pytest
import torch
from torch import Tensor

from dinotune.data.photometric import PROBABILITY, photometric


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 3, 5, 7, generator=generator(9))


def reference(picture: Tensor, draws: Tensor, strength: float) -> Tensor:
    """The four changes one after another, without the product of matrices."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    reach = torch.tensor([0.5, 0.5, 0.5, 0.1])
    brightness, contrast, saturation, turn = (2 * draws[:4] - 1) * strength * reach
    picture = picture * (1 + brightness)
    mean = (picture * weights).sum(0).mean()
    picture = mean + (picture - mean) * (1 + contrast)
    grey = (picture * weights).sum(0)
    picture = grey + (picture - grey) * (1 + saturation)
    table = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    luma, first, second = torch.einsum("ij,jhw->ihw", table, picture)
    angle = 2 * torch.pi * turn
    turned = torch.stack([luma, first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()])
    return torch.einsum("ij,jhw->ihw", torch.linalg.inv(table), turned).clamp(0, 1)


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_equals_the_changes_one_by_one(strength: float) -> None:
    pictures = images()
    draws = torch.rand(5, len(pictures), generator=generator(3))
    found = photometric(pictures, strength, generator(3))
    for picture, draw, result in zip(pictures, draws.T, found, strict=True):
        expected = reference(picture, draw, strength) if draw[4] < PROBABILITY else picture
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_the_same_generator_gives_the_same_pictures() -> None:
    assert torch.equal(photometric(images(), 0.5, generator(1)), photometric(images(), 0.5, generator(1)))
    assert not torch.equal(photometric(images(), 0.5, generator(1)), photometric(images(), 0.5, generator(2)))


def test_four_of_five_pictures_change_and_stay_in_range() -> None:
    pictures = torch.rand(2000, 3, 2, 2, generator=generator())
    found = photometric(pictures, 1.0, generator(5))
    changed = (found != pictures).flatten(1).any(1).float().mean()
    assert abs(changed - PROBABILITY) < 0.03
    assert found.min() >= 0
    assert found.max() <= 1
    spread = (found - pictures).abs().mean((1, 2, 3))
    assert spread.std() > 0.02, "every picture is changed in its own way"


def test_strength_zero_changes_nothing() -> None:
    torch.testing.assert_close(photometric(images(), 0.0, generator()), images(), atol=1e-6, rtol=0)


def test_grey_stays_grey() -> None:
    grey = torch.rand(8, 1, 4, 4, generator=generator()).expand(-1, 3, -1, -1)
    found = photometric(grey, 1.0, generator(1))
    torch.testing.assert_close(found[:, 0], found[:, 1], atol=1e-3, rtol=0)
    torch.testing.assert_close(found[:, 0], found[:, 2], atol=1e-3, rtol=0)


def test_hue_turns_by_no_more_than_it_says() -> None:
    colour = torch.tensor([0.6, 0.4, 0.4])[None, :, None, None].expand(200, -1, 2, 2)
    found = photometric(colour, 1.0, generator(4))[:, :, 0, 0]
    hues = torch.tensor([colorsys.rgb_to_hsv(*rgb.tolist())[0] for rgb in found])
    away = torch.minimum(hues, 1 - hues)
    assert 0.05 < away.max() < 0.16, "YIQ's angle differs a little from HSV's"


def test_empty_batch_and_half_precision() -> None:
    assert photometric(torch.empty(0, 3, 4, 4), 1.0, generator()).shape == (0, 3, 4, 4)
    half = photometric(images().bfloat16(), 1.0, generator())
    assert half.dtype == torch.bfloat16
