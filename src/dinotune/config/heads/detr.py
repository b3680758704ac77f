"""Settings of DETR."""

from typing import Annotated, Literal

from pydantic import Field

from dinotune.config.heads.query_head import QueryHead


class Detr(QueryHead):
    """DETR (Carion et al. 2020): transformer encoder and decoder on one map, or the decoder alone."""

    kind: Literal["detr"] = "detr"
    """Name of the head."""
    encoder_layers: Annotated[int, Field(strict=True, ge=0)] = 6
    """Encoder layers; 0 lets the queries read the backbone's map directly."""
