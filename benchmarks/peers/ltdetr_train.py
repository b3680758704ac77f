"""LightlyTrain's LT-DETR, random weights and the backbone frozen, learns from random pictures: `ltdetr_train.py BATCH`."""

import sys

import torch
from lightly_train._task_models.ltdetr_object_detection.task_model import LTDETRObjectDetection
from lightly_train._task_models.ltdetr_object_detection.train_model import LTDETRObjectDetectionTrainArgs
from lightly_train._task_models.object_detection_components.matcher import HungarianMatcher
from lightly_train._task_models.object_detection_components.rtdetrv2_criterion import RTDETRCriterionv2
from serving import serve
from steps import CLASSES, SIDE, random_batch, step_of
from torch import Tensor

settings = LTDETRObjectDetectionTrainArgs(backbone_freeze=True)
model = LTDETRObjectDetection(
    model_name="dinov3/vits16-notpretrained-ltdetr",
    classes={number: str(number) for number in range(CLASSES)},
    image_size=(SIDE, SIDE),
    backbone_freeze=True,
    load_weights=False,
)
model.train()
model.freeze_backbone()
matcher = HungarianMatcher(
    weight_dict=settings.matcher_weight_dict,
    use_focal_loss=settings.matcher_use_focal_loss,
    alpha=settings.matcher_alpha,
    gamma=settings.matcher_gamma,
)
criterion = RTDETRCriterionv2(
    matcher=matcher,
    weight_dict=settings.loss_weight_dict,
    losses=settings.losses,
    alpha=settings.loss_alpha,
    gamma=settings.loss_gamma,
    num_classes=CLASSES,
)
images, targets = random_batch(int(sys.argv[1]))


def loss() -> Tensor:
    """Its weighted terms, as its own training step adds them."""
    outputs = model._forward_train(x=images, targets=targets)
    terms = criterion(outputs=outputs, targets=targets, epoch=None, step=None, global_step=None, world_size=1)
    return torch.stack(list(terms.values())).sum()


serve(step_of(model, loss), "lightly-train", "torch")
