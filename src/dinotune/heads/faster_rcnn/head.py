"""Faster R-CNN (Ren et al. 2015) with torchvision's losses on a feature pyramid.

torchvision's own resizing, normalising and padding transform is left out: the network input is used as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from dinotune import config
from dinotune.heads.base import ClassRows, Head
from dinotune.heads.faster_rcnn.levels import Anchors, RoiPooler
from dinotune.heads.faster_rcnn.postprocessing import fill_slots
from dinotune.heads.pyramid import base_stride, build_pyramid
from dinotune.types import Detections, Features, Losses, Targets

ANCHOR_CELLS = 8
"""Default anchor side in cells of its level: 32 px at stride 4 (Lin et al. 2017)."""

Levels = list[Float[Tensor, "batch channels _h _w"]]


@dataclass(frozen=True)
class Proposed:
    """What the first stage makes of a batch."""

    levels: Levels
    image_hw: tuple[int, int]
    anchors: Float[Tensor, "anchors 4"]
    """Of one image, over all levels."""
    scores: Float[Tensor, "batch*anchors 1"]
    """Objectness logits of all anchors, image after image, fp32."""
    deltas: Float[Tensor, "batch*anchors 4"]
    """Their box regression, fp32."""
    boxes: list[Float[Tensor, "_proposals 4"]]
    """Proposals per image, best first."""


class FasterRcnnHead(Head):
    """Region proposals over a pyramid, then class and box of each proposal."""

    def __init__(
        self, settings: config.FasterRcnn, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.strides = tuple(base_stride(strides) * factor for factor in settings.stride_factors)
        self.pyramid = build_pyramid(channels, strides, settings.channels, settings.stride_factors)
        sizes = settings.anchor_sizes or [[ANCHOR_CELLS * stride] for stride in self.strides]
        self.anchors = Anchors(self.strides, sizes, settings.aspect_ratios)
        self.rpn = _region_proposal_network(settings, self.anchors.per_cell)
        self.pooler = RoiPooler(self.strides, settings.roi_size)
        self.roi_heads = _roi_heads(settings, classes)

    def loss(self, features: Features, targets: Targets) -> Losses:
        """The four losses of Faster R-CNN: objectness and boxes of the proposals, class and boxes of the detections."""
        return self._losses(self._propose(features), targets)

    def predict(self, features: Features) -> Detections:
        """Detections in `slots` slots per image."""
        return self._detections(self._propose(features))

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, Detections]:
        """Losses and detections from the same proposals."""
        proposed = self._propose(features)
        return self._losses(proposed, targets), self._detections(proposed)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Background stands first; the box regression has four rows per class."""
        scores, boxes = ClassRows(first=1), ClassRows(first=4, per_class=4)
        layers = {"cls_score": scores, "bbox_pred": boxes}
        return {
            f"roi_heads.box_predictor.{layer}.{kind}": rows
            for layer, rows in layers.items()
            for kind in ("weight", "bias")
        }

    def postprocess(
        self,
        logits: Float[Tensor, "proposals _classes"],
        regression: Float[Tensor, "proposals _sides"],
        proposals: Sequence[Float[Tensor, "_proposals 4"]],
        image_hw: tuple[int, int],
    ) -> Detections:
        """Detections from class logits (0 is background) and box regression (4 per class) of all proposals, image after image."""
        counts = [len(p) for p in proposals]
        # Without any proposal torchvision leaves the sides of all classes in one row.
        boxes = self.roi_heads.box_coder.decode(regression, list(proposals)).reshape(*logits.shape, 4)
        scores = logits.softmax(dim=1)
        return fill_slots(
            torch.split(scores[:, 1:], counts), torch.split(boxes[:, 1:], counts), image_hw, self.settings
        )

    def _losses(self, proposed: Proposed, targets: Targets) -> Losses:
        labelled = [
            # 0 is background inside torchvision: the only place where labels move.
            {"boxes": boxes.float(), "labels": labels + 1}
            for boxes, labels in zip(targets.boxes, targets.labels, strict=True)
        ]
        loss_objectness, loss_rpn_box = self._proposal_losses(proposed, labelled)
        chosen, _, labels, box_targets = self.roi_heads.select_training_samples(proposed.boxes, labelled)
        logits, regression = self._classify(proposed.levels, chosen)
        loss_class, loss_box = fastrcnn_loss(logits, regression, labels, box_targets)
        weight = self.settings
        return Losses(
            {
                "loss_objectness": loss_objectness * weight.weight_objectness,
                "loss_rpn_box": loss_rpn_box * weight.weight_rpn_box,
                "loss_class": loss_class * weight.weight_class,
                "loss_box": loss_box * weight.weight_box,
            }
        )

    def _detections(self, proposed: Proposed) -> Detections:
        logits, regression = self._classify(proposed.levels, proposed.boxes)
        return self.postprocess(logits, regression, proposed.boxes, proposed.image_hw)

    def _levels(self, features: Features) -> Levels:
        levels: Levels = self.pyramid(features)
        return levels

    def _propose(self, features: Features) -> Proposed:
        levels, image_hw = self._levels(features), features.image_hw
        anchors, batch = self.anchors(levels), len(levels[0])
        scores, deltas = ([level.float() for level in output] for output in self.rpn.head(levels))
        per_level = [level[0].numel() for level in scores]
        flat_scores, flat_deltas = concat_box_prediction_layers(scores, deltas)
        with torch.no_grad():
            boxes = self.rpn.box_coder.decode(flat_deltas, [anchors] * batch).view(batch, -1, 4)
            proposals, _ = self.rpn.filter_proposals(boxes, flat_scores, [image_hw] * batch, per_level)
        return Proposed(levels, image_hw, anchors, flat_scores, flat_deltas, proposals)

    def _proposal_losses(self, proposed: Proposed, labelled: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        all_anchors = [proposed.anchors] * len(labelled)
        labels, boxes = self.rpn.assign_targets_to_anchors(all_anchors, labelled)
        targets = self.rpn.box_coder.encode(boxes, all_anchors)
        loss_objectness, loss_box = self.rpn.compute_loss(proposed.scores, proposed.deltas, labels, targets)
        return loss_objectness, loss_box

    def _classify(self, levels: Levels, proposals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits and box regression of all proposals in fp32."""
        pooled = self.pooler([level.float() for level in levels], proposals)
        logits, regression = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits.float(), regression.float()


def _region_proposal_network(settings: config.FasterRcnn, anchors_per_cell: int) -> RegionProposalNetwork:
    return RegionProposalNetwork(
        anchor_generator=nn.Identity(),
        head=RPNHead(settings.channels, anchors_per_cell),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=settings.rpn_batch,
        positive_fraction=0.5,
        pre_nms_top_n={"training": settings.rpn_candidates_train, "testing": settings.rpn_candidates_predict},
        post_nms_top_n={"training": settings.rpn_proposals_train, "testing": settings.rpn_proposals_predict},
        nms_thresh=settings.rpn_nms_threshold,
    )


def _roi_heads(settings: config.FasterRcnn, classes: int) -> RoIHeads:
    return RoIHeads(
        box_roi_pool=None,
        box_head=TwoMLPHead(settings.channels * settings.roi_size**2, settings.hidden),
        box_predictor=FastRCNNPredictor(settings.hidden, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=settings.roi_batch,
        positive_fraction=settings.roi_positives,
        bbox_reg_weights=None,
        score_thresh=settings.score_threshold,
        nms_thresh=settings.nms_threshold,
        detections_per_img=settings.slots,
    )
