"""What the queries of DETR-like heads say, and how it becomes detections.

Boxes are normalised cxcywh in here (shares of the network input), and carry that in their names.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert

from dinotune.boxes import clip_boxes
from dinotune.types import Detections


@dataclass(frozen=True)
class QueryOutputs:
    """Class logits and boxes after each decoder layer, the last layer last."""

    logits: Float[Tensor, "layers batch queries outputs"]
    boxes_cxcywh: Float[Tensor, "layers batch queries 4"]
    """Shares of the network input."""
    references_cxcywh: Float[Tensor, "layers batch queries 4"] | None = None
    """The boxes that each layer began with, without a gradient; none where queries begin without boxes."""

    def layers(self, which: slice) -> "QueryOutputs":
        """Some of the layers."""
        return self._chosen((which,))

    def queries(self, which: slice) -> "QueryOutputs":
        """Some of the queries."""
        return self._chosen((slice(None), slice(None), which))

    def _chosen(self, index: tuple[slice, ...]) -> "QueryOutputs":
        references = self.references_cxcywh
        return QueryOutputs(
            self.logits[index], self.boxes_cxcywh[index], None if references is None else references[index]
        )

    @property
    def pred_logits(self) -> Float[Tensor, "batch queries outputs"]:
        """Class logits of the last layer."""
        return self.logits[-1]

    @property
    def pred_boxes(self) -> Float[Tensor, "batch queries 4"]:
        """Boxes of the last layer, normalised cxcywh."""
        return self.boxes_cxcywh[-1]


def best_detections(
    scores: Float[Tensor, "batch queries classes"],
    boxes_cxcywh: Float[Tensor, "batch queries 4"],
    image_hw: tuple[int, int],
    slots: int,
) -> Detections:
    """The `slots` best pairs of query and class of each image, best first, with boxes in pixels of the network input."""
    classes = scores.shape[2]
    best, index = scores.flatten(1).topk(min(slots, scores.shape[1] * classes), dim=1)
    boxes = box_convert(boxes_cxcywh.float(), "cxcywh", "xyxy")
    boxes = boxes.take_along_dim((index // classes)[..., None], dim=1)
    height, width = image_hw
    boxes = clip_boxes(boxes * boxes.new_tensor([width, height, width, height]), image_hw)
    return Detections(boxes, best, index % classes)
