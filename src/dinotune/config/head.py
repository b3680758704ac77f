"""The heads: from features to predictions."""

from typing import Annotated

from dinotune.config.base import FromKindName
from dinotune.config.heads.detr import Detr
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.heads.own import OwnHead
from dinotune.config.own import ByKind

Head = Annotated[FasterRcnn | Detr | OwnHead, ByKind(), FromKindName]
