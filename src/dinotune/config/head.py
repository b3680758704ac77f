"""The heads: from features to predictions."""

from typing import Annotated

from pydantic import Field

from dinotune.config.base import FromKindName
from dinotune.config.heads.detr import Detr
from dinotune.config.heads.faster_rcnn import FasterRcnn

Head = Annotated[FasterRcnn | Detr, Field(discriminator="kind"), FromKindName]
