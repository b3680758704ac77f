"""RF-DETR Nano with random weights finds objects in a batch of random pictures: `rfdetr_predict.py BATCH`."""

import sys

import torch
from rfdetr.config import RFDETRNanoConfig, TrainConfig
from rfdetr.models.lwdetr import build_criterion_from_config, build_model_from_config
from serving import serve

settings = RFDETRNanoConfig(pretrain_weights=None, num_classes=80, device="cpu")
model = build_model_from_config(settings).eval()
_, postprocess = build_criterion_from_config(settings, TrainConfig(dataset_dir=".", output_dir="."))
images = torch.rand(int(sys.argv[1]), 3, settings.resolution, settings.resolution)
sides = torch.tensor([[settings.resolution, settings.resolution]]).expand(len(images), -1)

with torch.inference_mode():
    serve(lambda: postprocess(model(images), sides), "rfdetr", "torch", "transformers")
