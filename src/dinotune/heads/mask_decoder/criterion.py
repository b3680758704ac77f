"""The loss of mask queries: match them to masks, then teach classes, cross-entropy and dice of the masks.

Cheng et al. 2021 (MaskFormer, section 3.2), at points as in Cheng et al. 2022 (Mask2Former). All arithmetic is fp32.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dinotune import config
from dinotune.heads.class_losses import CrossEntropyClasses
from dinotune.heads.mask_decoder.distances import pair_distances, table_distances
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.points import PlaceSampler, share_at, values_at
from dinotune.heads.mask_decoder.targets import MaskTargets
from dinotune.heads.matching import CostTable, Matches, match_queries
from dinotune.heads.set_criterion import by_layer, object_count, spoilt_unless
from dinotune.types import Losses

PAIRS_AT_ONCE = 128
"""Pairs of an image that are compared together: what choosing their places takes would be gigabytes for a thousand."""


class MaskCriterion:
    """From what mask queries say to weighted losses."""

    def __init__(self, settings: config.MaskHead, class_loss: CrossEntropyClasses) -> None:
        self.settings = settings
        self.class_loss = class_loss

    def __call__(self, outputs: MaskOutputs, targets: MaskTargets, generator: torch.Generator | None = None) -> Losses:
        """`loss_class`, `loss_mask` and `loss_dice` of the last layer, and their sum over the others as `loss_auxiliary`.

        `generator` draws the places. The losses are NaN where a matching cost is not finite.
        """
        outputs = self._taught(outputs)
        sampler = PlaceSampler(self.settings.points, outputs.grid_hw, outputs.pixels.device, generator)
        matches = self.match(outputs, targets, sampler)
        count = object_count(sum(targets.counts), outputs.logits.device)
        mask, dice = self._distances(outputs, targets, matches, sampler) / count
        terms = {
            "loss_class": self._class_losses(outputs, targets, matches, count),
            "loss_mask": self.settings.weight_mask * mask,
            "loss_dice": self.settings.weight_dice * dice,
        }
        return spoilt_unless(matches.finite, by_layer(terms))

    def _taught(self, outputs: MaskOutputs) -> MaskOutputs:
        """The layers that learn by their own answers; what queries began with always does."""
        if self.settings.auxiliary_losses:
            return outputs
        return outputs.layers([0, -1] if self.settings.query_start == "tokens" else [-1])

    @torch.no_grad()
    def match(self, outputs: MaskOutputs, targets: MaskTargets, sampler: PlaceSampler) -> Matches:
        """The cheapest pairs of queries and masks of each layer and image, on the host."""
        counts = targets.counts
        cost = torch.zeros(*outputs.logits.shape[:3], max(counts, default=0), device=outputs.logits.device)
        for image, count in enumerate(counts):
            if count:
                cost[:, image, :, :count] = self.cost(outputs, targets, image, sampler)
        present = torch.arange(cost.shape[3]) < torch.tensor(counts)[:, None]
        (matches,) = match_queries([CostTable(cost.cpu(), present)])
        return matches

    @torch.no_grad()
    def cost(
        self, outputs: MaskOutputs, targets: MaskTargets, image: int, sampler: PlaceSampler
    ) -> Float[Tensor, "layers queries masks"]:
        """Weighted cost of every query of an image with every mask of it."""
        places, pixels = sampler.shared(), outputs.pixels[image].float()
        at_places = pixels.flatten(1) if sampler.takes_all else values_at(pixels, places)
        masks = targets.masks[image]
        truth = share_at(masks, places, torch.arange(len(masks), device=masks.device))
        counted = share_at(targets.counted[image, None], places)
        mask, dice = table_distances(outputs.embeddings[:, image].float() @ at_places, truth, counted)
        cost_class = self.class_loss.cost(outputs.logits[:, image])[..., targets.labels[image]]
        return cost_class + self.settings.cost_mask * mask + self.settings.cost_dice * dice

    def _class_losses(
        self, outputs: MaskOutputs, targets: MaskTargets, matches: Matches, count: Float[Tensor, ""]
    ) -> Float[Tensor, "layers"]:
        logits = outputs.logits.float()
        labels = torch.full(logits.shape[:3], -1, device=logits.device)
        for image, of_image in enumerate(targets.labels):
            layer, query, target = _pairs(matches, image, logits.device)
            labels[layer, image, query] = of_image[target]
        return self.class_loss.loss(logits, labels, torch.zeros_like(labels, dtype=torch.float32), count)

    def _distances(
        self, outputs: MaskOutputs, targets: MaskTargets, matches: Matches, sampler: PlaceSampler
    ) -> Float[Tensor, "2 layers"]:
        """Cross-entropy and dice distance, summed over the pairs of each layer."""
        totals = torch.zeros(2, len(outputs.logits), device=outputs.logits.device)
        for image, masks in enumerate(targets.masks):
            counted, pairs = targets.counted[image, None], _pairs(matches, image, totals.device)
            for layer, query, target in zip(*(part.split(PAIRS_AT_ONCE) for part in pairs), strict=True):
                embeddings = outputs.embeddings[layer, image, query].float()
                logits = torch.einsum("mc,chw->mhw", embeddings, outputs.pixels[image].float())
                places = sampler.shared() if sampler.takes_all else sampler.unsure(logits, counted)
                at_places = logits.flatten(1) if sampler.takes_all else values_at(logits, places)
                distances = pair_distances(at_places, share_at(masks, places, target), share_at(counted, places))
                totals = totals.index_add(1, layer, torch.stack(distances))
        return totals


def _pairs(matches: Matches, image: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Layer, query and target of each pair of an image."""
    mine = matches.image == image
    return matches.layer[mine].to(device), matches.query[mine].to(device), matches.target[mine].to(device)
