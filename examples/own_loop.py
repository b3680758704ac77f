"""A training loop of your own in plain PyTorch: backbone, head, loss, backward. python examples/own_loop.py [STEPS]"""

import sys

import torch

import dinotune as dt

CLASSES = ("dark", "bright")


def draw_batch(pictures, size=64):
    """Grey noise with one dark or bright rectangle in each picture: RGB in [0, 1], boxes as xyxy pixels."""
    images = 0.4 + 0.2 * torch.rand(pictures, 3, size, size)
    corners = torch.randint(0, size // 2, (pictures, 2))
    boxes = torch.cat([corners, corners + torch.randint(size // 4, size // 2, (pictures, 2))], dim=1)
    labels = torch.randint(0, len(CLASSES), (pictures,))
    for image, (left, top, right, bottom), label in zip(images, boxes.tolist(), labels, strict=True):
        image[:, top:bottom, left:right] = label
    return images, dt.Targets(tuple(boxes.float().split(1)), tuple(labels.split(1)))


def main(steps):
    torch.manual_seed(0)
    backbone = dt.load_backbone("tiny-dinov3", trainable="all")  # or a pretrained one, frozen
    settings = dt.Detr(channels=64, encoder_layers=0, decoder_layers=2, feedforward=128, queries=10, class_loss="focal")
    head = dt.build_head(settings, backbone, len(CLASSES))
    backbone.train(), head.train()
    learning = [p for p in [*backbone.parameters(), *head.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=5e-4)

    for step in range(steps):
        images, targets = draw_batch(16)
        losses = head.loss(backbone(images), targets)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {losses.total:.2f}", {name: round(v, 2) for name, v in losses.values().items()})

    backbone.eval(), head.eval()
    images, targets = draw_batch(1)
    with torch.no_grad():
        found = head.predict(backbone(images))
    for source, box, label in (
        ("true ", targets.boxes[0][0], targets.labels[0][0]),
        ("found", found.boxes[0, 0], found.labels[0, 0]),
    ):
        print(source, CLASSES[label], box.round().int().tolist())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
