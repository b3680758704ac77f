"""The loss of DETR-like heads: match queries to objects, then teach classes, L1 and generalised IoU of the boxes.

Carion et al. 2020, section 3.1. Every decoder layer is matched and taught by itself.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert

from dinotune import config
from dinotune.boxes import generalized_iou, pairwise_iou
from dinotune.heads.box_codes import BoxCode, LogitBoxes
from dinotune.heads.class_losses import ClassLoss
from dinotune.heads.matching import CostTable, Matches, match_queries
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.queries import QueryOutputs
from dinotune.types import Losses, Targets


class SetCriterion:
    """From what the queries say to weighted losses."""

    def __init__(self, settings: config.QueryHead, class_loss: ClassLoss, box_code: BoxCode | None = None) -> None:
        self.settings = settings
        self.class_loss = class_loss
        self.box_code = box_code or LogitBoxes()

    def __call__(self, outputs: QueryOutputs, targets: Targets, image_hw: tuple[int, int]) -> Losses:
        """`loss_class`, `loss_l1` and `loss_giou` of the last layer, and their sum over the others as `loss_auxiliary`.

        They are NaN where a matching cost is not finite, so that the step is skipped and its pictures are named.
        """
        padded = PaddedTargets.of(targets, image_hw)
        outputs = self.taught(outputs)
        (matches,) = self.match([(outputs, padded)])
        count = object_count(padded.count, outputs.logits.device)
        return spoilt_unless(matches.finite, by_layer(self.layer_losses(outputs, padded, matches, count)))

    def taught(self, outputs: QueryOutputs) -> QueryOutputs:
        """The layers that learn by their own answers."""
        return outputs if self.settings.auxiliary_losses else outputs.layers(slice(-1, None))

    def match(self, groups: Sequence[tuple[QueryOutputs, PaddedTargets]]) -> list[Matches]:
        """Pairs of queries and objects of each group, matched by itself; one copy from the device for all of them."""
        return match_queries([CostTable(self.cost(*group), group[1].present) for group in groups])

    @torch.no_grad()
    def cost(self, outputs: QueryOutputs, targets: PaddedTargets) -> Float[Tensor, "layers batch queries objects"]:
        """Weighted matching cost of every query with every object of its own image."""
        logits, found = outputs.logits.float(), outputs.boxes_cxcywh.float()[..., None, :]
        wanted = targets.boxes_cxcywh[None, :, None]
        references = outputs.references_cxcywh
        labels = targets.labels[None, :, None].expand(len(logits), -1, logits.shape[2], -1)
        cost_class = self.class_loss.cost(logits).gather(-1, labels)
        difference = self.box_code.difference(found, wanted, None if references is None else references[..., None, :])
        cost_giou = -generalized_iou(_corners(found), _corners(wanted))
        return cost_class + self.settings.cost_l1 * difference.abs().sum(-1) + self.settings.cost_giou * cost_giou

    def layer_losses(
        self, outputs: QueryOutputs, targets: PaddedTargets, matches: Matches, count: Float[Tensor, ""]
    ) -> dict[str, Float[Tensor, "layers"]]:
        """`loss_class`, `loss_l1` and `loss_giou` of every layer for pairs that are known, divided by `count`."""
        pairs = matches.layer, matches.image, matches.query
        wanted = targets.boxes_cxcywh[matches.image, matches.target]
        found = outputs.boxes_cxcywh.float()[pairs]
        references = None if outputs.references_cxcywh is None else outputs.references_cxcywh[pairs]

        def per_layer(each: Tensor) -> Tensor:
            return each.new_zeros(len(outputs.logits)).index_add(0, matches.layer, each) / count

        l1 = self.box_code.difference(found, wanted, references).abs().sum(-1)
        giou = 1 - generalized_iou(_corners(found), _corners(wanted))
        return {
            "loss_class": self._class_losses(outputs, targets, matches, count),
            "loss_l1": self.settings.weight_l1 * per_layer(l1),
            "loss_giou": self.settings.weight_giou * per_layer(giou),
        }

    def _class_losses(
        self, outputs: QueryOutputs, targets: PaddedTargets, matches: Matches, count: Float[Tensor, ""]
    ) -> Float[Tensor, "layers"]:
        logits = outputs.logits.float()
        pairs = matches.layer, matches.image, matches.query
        labels = torch.full(logits.shape[:3], -1, device=logits.device)
        labels[pairs] = targets.labels[matches.image, matches.target]
        ious = logits.new_zeros(logits.shape[:3])
        wanted = targets.boxes_cxcywh[matches.image, matches.target]
        ious[pairs] = pairwise_iou(_corners(outputs.boxes_cxcywh.detach().float()[pairs]), _corners(wanted))
        return self.class_loss.loss(logits, labels, ious, count)


def by_layer(terms: dict[str, Float[Tensor, "layers"]]) -> dict[str, Float[Tensor, ""]]:
    """The terms of the last layer, and their sum over the others as `loss_auxiliary`."""
    last = {name: values[-1] for name, values in terms.items()}
    if len(terms["loss_class"]) > 1:
        last["loss_auxiliary"] = torch.stack([values[:-1].sum() for values in terms.values()]).sum()
    return last


def spoilt_unless(finite: bool, terms: dict[str, Float[Tensor, ""]]) -> Losses:
    """The terms, or NaN for each of them where the matching had costs that were not finite."""
    return Losses(terms if finite else {name: value * torch.nan for name, value in terms.items()})


def _corners(boxes_cxcywh: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes_cxcywh, "cxcywh", "xyxy")
    return corners


def object_count(own: int, device: torch.device) -> Float[Tensor, ""]:
    """Mean number of objects per process over all processes, at least 1: what losses are divided by."""
    count = torch.tensor(float(own), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)
