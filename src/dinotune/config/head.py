"""The heads: from features to predictions."""

from typing import Annotated

from dinotune.config.base import FromKindName
from dinotune.config.heads.deformable_detr import DeformableDetr
from dinotune.config.heads.detr import Detr
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.heads.own import OwnHead
from dinotune.config.heads.plain_detr import PlainDetr
from dinotune.config.own import ByKind

Head = Annotated[FasterRcnn | Detr | DeformableDetr | PlainDetr | OwnHead, ByKind(), FromKindName]
