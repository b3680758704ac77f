"""The objects of a batch in one table, for costs and losses of all images at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert

from dinotune.types import Targets


@dataclass(frozen=True)
class PaddedTargets:
    """Objects of a batch in one table; rows that are not `present` fill up images with fewer objects."""

    boxes_cxcywh: Float[Tensor, "batch objects 4"]
    """Shares of the network input."""
    labels: Int64[Tensor, "batch objects"]
    present: Bool[Tensor, "batch objects"]
    """On the host; the objects of an image come first."""

    @classmethod
    def of(cls, targets: Targets, image_hw: tuple[int, int]) -> "PaddedTargets":
        """The table of a batch whose boxes are absolute xyxy."""
        height, width = image_hw
        boxes = pad_sequence([b.float() for b in targets.boxes], batch_first=True)
        counts = torch.tensor([len(b) for b in targets.boxes])
        return cls(
            boxes_cxcywh=box_convert(boxes / boxes.new_tensor([width, height, width, height]), "xyxy", "cxcywh"),
            labels=pad_sequence(list(targets.labels), batch_first=True),
            present=torch.arange(boxes.shape[1]) < counts[:, None],
        )

    @property
    def count(self) -> int:
        """Objects in the batch."""
        return int(self.present.sum())

    def repeated(self, times: int) -> "PaddedTargets":
        """The table with every object several times."""
        return PaddedTargets(
            boxes_cxcywh=self.boxes_cxcywh.repeat_interleave(times, dim=1),
            labels=self.labels.repeat_interleave(times, dim=1),
            present=self.present.repeat_interleave(times, dim=1),
        )
