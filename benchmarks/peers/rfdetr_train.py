"""RF-DETR Nano, random weights and the backbone frozen, learns from random pictures: `rfdetr_train.py BATCH GROUPS`."""

import sys

import torch
from rfdetr.config import RFDETRNanoConfig, TrainConfig
from rfdetr.models.lwdetr import build_criterion_from_config, build_model_from_config
from serving import serve
from steps import CLASSES, SIDE, random_batch, step_of
from torch import Tensor

settings = RFDETRNanoConfig(
    pretrain_weights=None,
    num_classes=CLASSES,
    resolution=SIDE,
    freeze_encoder=True,
    group_detr=int(sys.argv[2]),
    device="cpu",
)
training = TrainConfig(dataset_dir=".", output_dir=".")
model = build_model_from_config(settings, training).train()
criterion, _ = build_criterion_from_config(settings, training)
criterion.train()
images, targets = random_batch(int(sys.argv[1]))


def loss() -> Tensor:
    """Its weighted terms, as its own training step adds them."""
    terms, weights = criterion(model(images, targets), targets), criterion.weight_dict
    return torch.stack([terms[name] * weights[name] for name in terms if name in weights]).sum()


serve(step_of(model, loss), "rfdetr", "torch")
