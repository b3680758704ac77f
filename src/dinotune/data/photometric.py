"""Changes of brightness, contrast, saturation and hue for a whole batch at once, on whatever device it is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dinotune import config
from dinotune.data.batches import Batch
from dinotune.data.fixed_views import whole_pictures
from dinotune.data.seeds import mix_seed
from dinotune.types import Cut

PROBABILITY = 0.8
"""Share of the pictures that are changed."""

RANGES = (0.5, 0.5, 0.5, 0.1)
"""At strength 1: brightness, contrast and saturation are multiplied by 1 +- .5; hue turns by +- a tenth of a circle."""

GREY = (0.299, 0.587, 0.114)
RGB_TO_YIQ = (GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""ITU-R BT.601 luma and NTSC's two colour axes, in which a hue is an angle."""


def training_inputs(
    batch: Batch, augmentation: config.Augmentation, seed: int
) -> Float[Tensor, "batch 3 height width"] | Cut:
    """What a model takes of a batch while it trains, with other colours where `photometric` is not 0; in fp32.

    Colours depend on `seed`, epoch and number of the batch; where views are fixed, on `seed`, view and picture, and
    views of whole pictures keep theirs.
    """
    inputs = batch.inputs
    whole = batch.view is not None and batch.view < whole_pictures(augmentation)
    if isinstance(inputs, Cut) or augmentation.photometric == 0 or whole:
        return inputs
    with torch.autocast(inputs.device.type, enabled=False):
        return photometric(inputs, augmentation.photometric, _generators(batch, seed, inputs.device))


def _generators(batch: Batch, seed: int, device: torch.device) -> torch.Generator | list[torch.Generator]:
    if batch.view is None:
        return torch.Generator(device).manual_seed(mix_seed(seed, batch.epoch, batch.index))
    return [torch.Generator().manual_seed(mix_seed(seed, batch.view, number, 0)) for number in batch.image_ids]


def photometric(
    images: Float[Tensor, "batch 3 height width"],
    strength: float,
    generator: torch.Generator | list[torch.Generator],
) -> Float[Tensor, "batch 3 height width"]:
    """Pictures in [0, 1] with other colours, still in [0, 1]; each is changed with probability .8.

    All four changes are linear in the colours once the mean grey m of a picture is known, so that they are one
    affine map per picture: rgb' = b c H S rgb + b (1 - c) m, with brightness b, contrast c about m, saturation S
    about grey, and hue H. The same generator state gives the same result; a list has a generator for each picture.
    """
    if isinstance(generator, list):
        draws = torch.stack([torch.rand(5, generator=own) for own in generator], 1)
    else:
        draws = torch.rand(5, len(images), generator=generator, device=generator.device, dtype=torch.float32)
    draws = draws.to(images.device)
    changed = (draws[4] < PROBABILITY).float()
    brightness, contrast, saturation, turn = (
        (2 * draw - 1) * changed * strength * reach for draw, reach in zip(draws, RANGES, strict=False)
    )
    grey = images.new_tensor(GREY, dtype=torch.float32)
    mean = images.float().mean((2, 3)) @ grey
    gain = (1 + brightness) * (1 + contrast)
    matrix = _hue(turn) @ _saturation(1 + saturation, grey) * gain[:, None, None]
    # The exact identity, so that pictures left alone stay equal to the last bit.
    matrix = torch.where(changed[:, None, None] > 0, matrix, torch.eye(3, device=images.device))
    offset = -(1 + brightness) * contrast * mean
    mixed = torch.baddbmm(offset[:, None, None], matrix, images.float().flatten(2))
    return mixed.clamp_(0, 1).view_as(images).to(images.dtype)


def _saturation(factor: Float[Tensor, "batch"], grey: Float[Tensor, "3"]) -> Float[Tensor, "batch 3 3"]:
    """Matrices that scale the distance from grey."""
    identity = torch.eye(3, device=grey.device)
    return factor[:, None, None] * identity + (1 - factor)[:, None, None] * grey.expand(3, 3)


def _hue(turn: Float[Tensor, "batch"]) -> Float[Tensor, "batch 3 3"]:
    """Matrices that turn the colour plane, in parts of a circle; grey stays."""
    table = torch.tensor(RGB_TO_YIQ, dtype=torch.float64)
    to_yiq, to_rgb = table.float().to(turn.device), torch.linalg.inv(table).float().to(turn.device)
    cosine, sine = torch.cos(2 * math.pi * turn), torch.sin(2 * math.pi * turn)
    zero, one = torch.zeros_like(turn), torch.ones_like(turn)
    rows = (one, zero, zero, zero, cosine, -sine, zero, sine, cosine)
    rotation = torch.stack(rows, 1).view(-1, 3, 3)
    turned: Tensor = to_rgb @ rotation @ to_yiq
    return turned
