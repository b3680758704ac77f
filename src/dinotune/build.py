"""Experiment -> objects; the only place that matches on `kind`."""

import torch

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.backbones.weights import LoadReport
from dinotune.data.records import LabelSet
from dinotune.heads.base import Head
from dinotune.heads.detr import DetrHead
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.model import Model


def build_head(settings: config.Head, backbone: Backbone, labels: LabelSet) -> Head:
    """The head that `head.kind` names, for the backbone's taps and the data set's classes."""
    match settings:
        case config.FasterRcnn():
            return FasterRcnnHead(settings, backbone.channels, backbone.strides, len(labels))
        case config.Detr():
            return DetrHead(settings, backbone.channels, backbone.strides, len(labels))


def build_model(experiment: config.Experiment, labels: LabelSet) -> tuple[Model, LoadReport]:
    """Backbone and head of an experiment; random weights are drawn from its seed alone.

    Raises:
        WeightsError: the backbone's weights cannot be found, reached or loaded completely.
    """
    backbone, report = build_backbone(experiment.backbone, seed=experiment.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        head = build_head(experiment.head, backbone, labels)
    return Model(backbone, head), report
