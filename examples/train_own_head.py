"""Train the head of `own_head.py` on drawn shapes: python examples/train_own_head.py NEW_FOLDER [EPOCHS]"""

import sys
from pathlib import Path

import dinotune as dt
from dinotune.data.shapes import draw_shapes

folder = Path(sys.argv[1])
run = dt.train(
    dt.Experiment(
        backbone=dt.Backbone(id="tiny-dinov3", trainable="all"),
        head=dt.OwnHead(kind="own_head:CentreHead", options={"slots": 30}),
        data=dt.Data(root=draw_shapes(folder / "shapes", train=160), size=128),
        training=dt.Training(epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 40, batch_size=8),
    ),
    out=folder / "run",
)
print(f"AP50 {run.metrics['AP50']:.3f}; next: cd examples; dinotune predict {run.folder} {folder}/shapes/images/test")
