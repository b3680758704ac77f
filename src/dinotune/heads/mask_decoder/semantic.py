"""A class for each pixel from masks of queries (Cheng et al. 2021, MaskFormer, section 3.4)."""

import torch

from dinotune.heads.mask_decoder.head import MaskHead
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.targets import MaskTargets, class_targets
from dinotune.types import SemanticMaps, Targets


class MaskDecoderHead(MaskHead):
    """A query answers for all pixels of one class."""

    def mask_targets(self, targets: Targets) -> MaskTargets:
        """A mask for each class that a picture shows."""
        return class_targets(targets)

    def postprocess(self, outputs: MaskOutputs, image_hw: tuple[int, int]) -> SemanticMaps:  # noqa: ARG002
        """Of each class, the sum of the mask probabilities of all queries by how sure they are of it."""
        chances = self.class_loss.scores(outputs.pred_logits)
        masks = outputs.pred_masks.sigmoid()
        with torch.autocast(masks.device.type, enabled=False):
            return SemanticMaps(torch.einsum("bqc,bqhw->bchw", chances, masks))
