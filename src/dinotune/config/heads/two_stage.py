"""Settings that the heads share whose queries begin as boxes and move them from layer to layer."""

from typing import Annotated, ClassVar

from pydantic import Field

from dinotune.config.base import Count, NonNegativeFloat, Share, Switch
from dinotune.config.heads.class_loss import ClassLoss, Focal
from dinotune.config.heads.query_head import QueryHead


class TwoStageHead(QueryHead):
    """Queries with reference boxes, proposed by the memory (two stages) or learned, refined by every decoder layer."""

    idle: ClassVar = {
        ("two_stage", False): ("mixed_selection",),
        ("box_refinement", False): ("look_forward_twice",),
        ("denoising_queries", 0): ("denoising_label_noise", "denoising_box_noise", "weight_denoising"),
        ("one_to_many_queries", 0): ("one_to_many_repeats", "weight_one_to_many"),
    }

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout in attention and feed-forward layers."""
    queries: Count = 300
    """Objects that can be found in one picture."""
    class_loss: ClassLoss = Focal()
    """Class probabilities and their loss."""
    two_stage: Switch = True
    """Begin with the best boxes that the memory's cells propose instead of learned ones (Zhu et al. 2021)."""
    mixed_selection: Switch = True
    """Take only the boxes from the proposals and learn the queries' content (Zhang et al. 2023, DINO); needs `two_stage`."""
    box_refinement: Switch = True
    """Let every decoder layer move the boxes of the layer before it (Zhu et al. 2021)."""
    look_forward_twice: Switch = True
    """Let the loss of a layer's boxes also reach the layer before it (Zhang et al. 2023, DINO); needs `box_refinement`."""
    denoising_queries: Annotated[int, Field(strict=True, ge=0)] = 0
    """Noised objects per picture that extra queries must put right while training, and as many far off that they must reject (Zhang et al. 2023, DINO); 0 for none."""
    denoising_label_noise: Share = 0.25
    """Share of the noised objects that get a random class."""
    denoising_box_noise: Share = 1.0
    """How far corners move at the most, in half sides of the box; rejected ones move once as far again."""
    weight_denoising: NonNegativeFloat = 1.0
    """Weight of the loss of the noised objects."""
    one_to_many_queries: Annotated[int, Field(strict=True, ge=0)] = 0
    """Extra queries while training, several of which answer for one object (Jia et al. 2023, H-DETR); 0 for none."""
    one_to_many_repeats: Count = 6
    """Extra queries that answer for each object."""
    weight_one_to_many: NonNegativeFloat = 1.0
    """Weight of the loss of the extra queries."""
