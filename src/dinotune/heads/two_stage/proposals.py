"""The first stage: every cell of the memory proposes a box, and queries begin with the best (Zhu et al. 2021).

Only proposals that were taken learn, by classes as queries do (Zhang et al. 2023, DINO).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.box_codes import BoxCode
from dinotune.heads.class_losses import ClassLoss, class_layer
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.transformer import BoxLayers
from dinotune.heads.two_stage.memory import Memory


@dataclass(frozen=True)
class Proposals:
    """What cells propose: their tokens, and their answers as of one decoder layer."""

    tokens: Float[Tensor, "batch cells channels"]
    outputs: QueryOutputs
    scores: Float[Tensor, "batch cells"]
    """Probability of the likeliest class."""

    def best(self, count: int) -> "Proposals":
        """The `count` best of each image, best first; all of them where there are fewer."""
        index = self.scores.topk(min(count, self.scores.shape[1]), dim=1).indices

        def chosen(values: Tensor) -> Tensor:
            return values.take_along_dim(index.view(*index.shape, *[1] * (values.ndim - 2)), dim=1)

        outputs, references = self.outputs, self.outputs.references_cxcywh
        assert references is not None
        return Proposals(
            tokens=chosen(self.tokens),
            outputs=QueryOutputs(
                chosen(outputs.pred_logits)[None], chosen(outputs.pred_boxes)[None], chosen(references[-1])[None]
            ),
            scores=chosen(self.scores),
        )


class ProposalLayers(nn.Module):
    """From the memory to a proposal per cell."""

    def __init__(self, settings: config.TwoStageHead, class_loss: ClassLoss, box_code: BoxCode) -> None:
        super().__init__()
        self.class_loss = class_loss
        self.box_code = box_code
        self.project = nn.Sequential(nn.Linear(settings.channels, settings.channels), nn.LayerNorm(settings.channels))
        self.classify = class_layer(settings.channels, class_loss)
        self.locate = BoxLayers(settings.channels, zero=True)

    def forward(self, memory: Memory) -> Proposals:
        tokens: Tensor = self.project(memory.tokens)
        logits = self.classify(tokens)
        anchors = memory.anchors_cxcywh.expand(len(tokens), -1, -1)
        boxes = self.box_code.move(anchors, self.locate(tokens))
        with torch.no_grad():
            scores = self.class_loss.scores(logits).amax(-1)
        return Proposals(tokens, QueryOutputs(logits[None], boxes[None], anchors[None]), scores)
