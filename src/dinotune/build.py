"""Experiment -> objects; the only place that matches on `kind`."""

import torch

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.adapters.bottleneck import BottleneckAdapter
from dinotune.adapters.daga import DagaAdapter
from dinotune.adapters.lora import LoraAdapter
from dinotune.adapters.norm_bias import NormBiasAdapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone, sketch_backbone
from dinotune.backbones.weights import LoadReport
from dinotune.data.records import LabelSet, Records
from dinotune.errors import SettingsError
from dinotune.heads.base import Head
from dinotune.heads.deformable_detr import DeformableDetrHead
from dinotune.heads.detr import DetrHead
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.heads.linear_segmenter import LinearSegmenterHead
from dinotune.heads.mask_decoder import InstanceMaskDecoderHead, MaskDecoderHead
from dinotune.heads.plain_detr import PlainDetrHead
from dinotune.model import Model
from dinotune.own_parts import build_own
from dinotune.tasks.base import Answers
from dinotune.tasks.classification.answers import ClassificationAnswers
from dinotune.tasks.detection.answers import DetectionAnswers
from dinotune.tasks.instance_segmentation.answers import InstanceAnswers
from dinotune.tasks.segmentation.answers import SegmentationAnswers
from dinotune.tasks.segmentation.windows import Windows


def build_head(settings: config.Head, backbone: Backbone, classes: int) -> Head:
    """The head that the settings describe, for the backbone's taps and this many classes.

    Raises:
        SettingsError: a head of the user's own that cannot be imported or built.
    """
    fitting = (backbone.channels, backbone.strides, classes)
    head: Head
    match settings:
        case config.FasterRcnn():
            head = FasterRcnnHead(settings, *fitting)
        case config.Detr():
            head = DetrHead(settings, *fitting)
        case config.DeformableDetr():
            head = DeformableDetrHead(settings, *fitting)
        case config.PlainDetr():
            head = PlainDetrHead(settings, *fitting)
        case config.LinearClassifier():
            head = LinearClassifierHead(settings, *fitting)
        case config.LinearSegmenter():
            head = LinearSegmenterHead(settings, *fitting)
        case config.MaskDecoder():
            head = MaskDecoderHead(settings, *fitting)
        case config.InstanceMaskDecoder():
            head = InstanceMaskDecoderHead(settings, *fitting)
        case config.OwnHead():
            head = build_own(settings, Head, "head", *fitting)  # type: ignore[type-abstract]
    return head


def build_answers(experiment: config.Experiment, records: Records, size_multiple: int) -> Answers:
    """What gathers and measures the answers of the experiment's head on these pictures.

    `size_multiple` is the model's: sliding windows have sides of it.
    """
    match experiment.head.task:
        case "detection":
            return DetectionAnswers(records.labels, experiment.evaluation.max_detections)
        case "classification":
            return ClassificationAnswers(records.labels)
        case "segmentation":
            return SegmentationAnswers(records, Windows.of(experiment.evaluation, size_multiple))
        case "instance_segmentation":
            return InstanceAnswers(records.labels, experiment.evaluation.max_detections)


def build_adapter(settings: config.Adapter) -> Adapter | None:
    """The adapter that `adapter.kind` names, not yet attached; none for a frozen backbone."""
    match settings:
        case config.Frozen():
            return None
        case config.Lora():
            adapter: Adapter = LoraAdapter(settings)
        case config.NormBias():
            adapter = NormBiasAdapter(settings)
        case config.Daga():
            adapter = DagaAdapter(settings)
        case config.Bottleneck():
            adapter = BottleneckAdapter(settings)
        case config.OwnAdapter():
            adapter = build_own(settings, Adapter, "adapter")  # type: ignore[type-abstract]
    adapter.learning_rate_factor = settings.learning_rate_factor
    adapter.weight_decay_factor = settings.weight_decay_factor
    return adapter


def build_model(experiment: config.Experiment, labels: LabelSet) -> tuple[Model, LoadReport]:
    """Backbone, adapter and head of an experiment; random weights are drawn from its seed alone.

    The head's do not depend on the adapter, so that adapters can be compared.

    Raises:
        WeightsError: the backbone's weights cannot be found, reached or loaded completely.
        SettingsError: this backbone cannot have the adapter.
    """
    backbone, report = build_backbone(experiment.backbone, seed=experiment.seed)
    adapter = build_adapter(experiment.adapter)
    if adapter is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(experiment.seed)
            adapter.attach(backbone)
    _check_reach(experiment.head, backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        head = build_head(experiment.head, backbone, len(labels))
    return Model(backbone, head, adapter), report


def _check_reach(head: config.Head, backbone: Backbone) -> None:
    """SettingsError where an adapter changes patch tokens that nothing reads after it: it would never learn."""
    after, last = backbone.after_blocks, backbone.blocks[-1]
    reads_cls_alone = isinstance(head, config.LinearClassifier) and head.pooling == "cls" and backbone.prefix_tokens > 0
    if after is not None and reads_cls_alone and last in after.blocks:
        raise SettingsError(
            f"adapter.blocks: {last} is the last block, and head.pooling=cls reads its CLS token alone, which an adapter "
            f"after that block never reaches; leave {last} out, or use head.pooling=cls_and_patches"
        )


def sketch_model(experiment: config.Experiment, classes: int) -> Model | None:
    """The model without weights, on the meta device, e.g. to count its parameters; none where only weights tell its shape."""
    backbone = sketch_backbone(experiment.backbone)
    if backbone is None:
        return None
    with torch.device("meta"):
        adapter = build_adapter(experiment.adapter)
        if adapter is not None:
            adapter.attach(backbone)
        return Model(backbone, build_head(experiment.head, backbone, classes), adapter)
