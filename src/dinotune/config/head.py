"""The heads: from features to predictions."""

from typing import Annotated, get_args

from dinotune.config.base import FromKindName
from dinotune.config.heads.deformable_detr import DeformableDetr
from dinotune.config.heads.detr import Detr
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.heads.linear_classifier import LinearClassifier
from dinotune.config.heads.linear_segmenter import LinearSegmenter
from dinotune.config.heads.mask_decoder import InstanceMaskDecoder, MaskDecoder
from dinotune.config.heads.own import OwnHead
from dinotune.config.heads.plain_detr import PlainDetr
from dinotune.config.own import ByKind
from dinotune.config.tasks import TaskName

Head = Annotated[
    FasterRcnn
    | Detr
    | DeformableDetr
    | PlainDetr
    | LinearClassifier
    | LinearSegmenter
    | MaskDecoder
    | InstanceMaskDecoder
    | OwnHead,
    ByKind(),
    FromKindName,
]

HEAD_TASKS: dict[str, TaskName] = {
    section.model_fields["kind"].default: section.task
    for section in get_args(get_args(Head)[0])
    if section is not OwnHead
}
"""The task of each kind of head that comes with the package."""
