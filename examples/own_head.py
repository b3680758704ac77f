"""A head of your own: dinotune train faster_rcnn head=own_head:CentreHead data=PICTURES (see `train_own_head.py`)."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

import dinotune as dt


class CentreHead(dt.Head):  # every cell: which class has its centre here, and how far are the box's sides?
    def __init__(self, options, channels, strides, classes):
        super().__init__()
        self.stride, self.slots = strides[-1], options.get("slots", 20)
        self.answer = torch.nn.Conv2d(channels[-1], 4 + classes, 1)

    def forward(self, features):
        sides, logits = self.answer(features.maps[-1]).float().tensor_split([4], dim=1)
        y, x = torch.meshgrid(*(torch.arange(n).to(logits) + 0.5 for n in logits.shape[2:]), indexing="ij")
        left, top, right, bottom = sides.exp().unbind(1)
        return logits, self.stride * torch.stack([x - left, y - top, x + right, y + bottom], dim=1)

    def loss(self, features, targets):
        logits, boxes = self(features)
        image = torch.cat([labels * 0 + i for i, labels in enumerate(targets.labels)])
        true_boxes, labels, wanted = torch.cat(targets.boxes), torch.cat(targets.labels), torch.zeros_like(logits)
        column, row = ((true_boxes[:, :2] + true_boxes[:, 2:]) / 2 // self.stride).long().unbind(1)
        wanted[image, labels, row, column] = 1
        loss_class = binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        loss_box = l1_loss(boxes[image, :, row, column], true_boxes, reduction="sum") / self.stride
        return dt.Losses({"loss_class": loss_class / max(1, len(labels)), "loss_box": loss_box / max(1, len(labels))})

    def predict(self, features):
        logits, boxes = self(features)
        scores, best = logits.sigmoid().flatten(1).topk(min(self.slots, logits[0].numel()))
        cells, corner = boxes[0, 0].numel(), boxes.new_tensor(features.image_hw[::-1])
        boxes = boxes.flatten(2).mT.take_along_dim((best % cells)[..., None], dim=1)
        return dt.Detections(boxes.clamp(corner.repeat(2) * 0, corner.repeat(2)), scores, best // cells)

    def class_rows(self):
        return {"answer.weight": dt.ClassRows(first=4), "answer.bias": dt.ClassRows(first=4)}
