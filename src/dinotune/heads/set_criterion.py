"""The loss of DETR-like heads: match queries to objects, then teach classes, L1 and generalised IoU of the boxes.

Carion et al. 2020, section 3.1. Every decoder layer is matched and taught by itself.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchvision.ops import box_convert

from dinotune import config
from dinotune.boxes import generalized_iou
from dinotune.heads.class_losses import ClassLoss
from dinotune.heads.matching import Matches, match_queries
from dinotune.heads.queries import QueryOutputs
from dinotune.types import Losses, Targets


@dataclass(frozen=True)
class PaddedTargets:
    """Objects of a batch in one table; rows that are not `present` fill up images with fewer objects."""

    boxes_cxcywh: Float[Tensor, "batch objects 4"]
    """Shares of the network input."""
    labels: Int64[Tensor, "batch objects"]
    present: Bool[Tensor, "batch objects"]
    """On the host."""

    @classmethod
    def of(cls, targets: Targets, image_hw: tuple[int, int]) -> "PaddedTargets":
        """The table of a batch whose boxes are absolute xyxy."""
        height, width = image_hw
        pad = torch.nn.utils.rnn.pad_sequence
        boxes = pad([b.float() for b in targets.boxes], batch_first=True)
        counts = torch.tensor([len(b) for b in targets.boxes])
        return cls(
            boxes_cxcywh=box_convert(boxes / boxes.new_tensor([width, height, width, height]), "xyxy", "cxcywh"),
            labels=pad(list(targets.labels), batch_first=True),
            present=torch.arange(boxes.shape[1]) < counts[:, None],
        )


class SetCriterion:
    """From what the queries say to weighted losses."""

    def __init__(self, settings: config.QueryHead, class_loss: ClassLoss) -> None:
        self.settings = settings
        self.class_loss = class_loss

    def __call__(self, outputs: QueryOutputs, targets: Targets, image_hw: tuple[int, int]) -> Losses:
        """`loss_class`, `loss_l1` and `loss_giou` of the last layer, and their sum over the others as `loss_auxiliary`.

        They are NaN where a matching cost is not finite, so that the step is skipped and its pictures are named.
        """
        padded = PaddedTargets.of(targets, image_hw)
        logits, boxes = outputs.logits.float(), outputs.boxes_cxcywh.float()
        if not self.settings.auxiliary_losses:
            logits, boxes = logits[-1:], boxes[-1:]
        matches = match_queries(self.cost(logits, boxes, padded), padded.present)
        count = object_count(sum(len(b) for b in targets.boxes), logits.device)
        terms = {
            "loss_class": self._class_losses(logits, padded, matches, count),
            **self._box_losses(boxes, padded, matches, count),
        }
        last = {name: values[-1] for name, values in terms.items()}
        if len(logits) > 1:
            last["loss_auxiliary"] = torch.stack([values[:-1].sum() for values in terms.values()]).sum()
        return Losses(last if matches.finite else {name: value * torch.nan for name, value in last.items()})

    @torch.no_grad()
    def cost(
        self,
        logits: Float[Tensor, "layers batch queries outputs"],
        boxes_cxcywh: Float[Tensor, "layers batch queries 4"],
        targets: PaddedTargets,
    ) -> Float[Tensor, "layers batch queries objects"]:
        """Weighted matching cost of every query with every object of its own image."""
        labels = targets.labels[None, :, None].expand(len(logits), -1, logits.shape[2], -1)
        cost_class = self.class_loss.cost(logits).gather(-1, labels)
        pairs = boxes_cxcywh[..., :, None, :], targets.boxes_cxcywh[None, :, None]
        cost_l1 = (pairs[0] - pairs[1]).abs().sum(-1)
        cost_giou = -generalized_iou(*(box_convert(boxes, "cxcywh", "xyxy") for boxes in pairs))
        return cost_class + self.settings.cost_l1 * cost_l1 + self.settings.cost_giou * cost_giou

    def _class_losses(
        self, logits: Tensor, targets: PaddedTargets, matches: Matches, count: Float[Tensor, ""]
    ) -> Float[Tensor, "layers"]:
        labels = torch.full(logits.shape[:3], -1, device=logits.device)
        labels[matches.layer, matches.image, matches.query] = targets.labels[matches.image, matches.target]
        return self.class_loss.loss(logits, labels, count)

    def _box_losses(
        self, boxes_cxcywh: Tensor, targets: PaddedTargets, matches: Matches, count: Float[Tensor, ""]
    ) -> dict[str, Float[Tensor, "layers"]]:
        found = boxes_cxcywh[matches.layer, matches.image, matches.query]
        wanted = targets.boxes_cxcywh[matches.image, matches.target]
        l1 = F.l1_loss(found, wanted, reduction="none").sum(-1)
        giou = 1 - generalized_iou(box_convert(found, "cxcywh", "xyxy"), box_convert(wanted, "cxcywh", "xyxy"))

        def per_layer(each: Tensor) -> Tensor:
            return each.new_zeros(len(boxes_cxcywh)).index_add(0, matches.layer, each) / count

        return {
            "loss_l1": self.settings.weight_l1 * per_layer(l1),
            "loss_giou": self.settings.weight_giou * per_layer(giou),
        }


def object_count(own: int, device: torch.device) -> Float[Tensor, ""]:
    """Mean number of objects per process over all processes, at least 1: what losses are divided by."""
    count = torch.tensor(float(own), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)
