"""Minutes on a CPU: draw a small data set, train, evaluate on held-out pictures, predict."""

from collections.abc import Sequence
from pathlib import Path

from dinotune import api
from dinotune.config.loading import load_experiment
from dinotune.data.shapes import draw_shapes
from dinotune.prediction import picture_files

PREDICTED = 8
"""Held-out pictures that are predicted and drawn."""

REAL_BACKBONE = ("backbone.trainable=none", "data.size=224", "data.train.limit=160", "training.learning_rate=1e-3")
"""A pretrained backbone stays frozen, and sees fewer of the small pictures, enlarged."""


def quickstart(out: Path | None = None, backbone: str | None = None, overrides: Sequence[str] = ()) -> api.Run:
    """Run the whole tour; the data set lies beside the run folder and is used again next time.

    Args:
        out: Run folder; none takes a new one below ``runs``.
        backbone: Id or folder of a real backbone; none trains a tiny one from scratch.
        overrides: Further settings as ``key=value``.
    """
    data = draw_shapes((out.parent if out else Path("runs")) / "quickstart-data")
    words = [f"data.root={data}"]
    if backbone is not None:
        words += [f"backbone={backbone}", *([] if backbone.startswith("tiny-") else REAL_BACKBONE)]
    loaded = load_experiment("quickstart", overrides=[*words, *overrides])
    run = api.train(loaded.experiment, out=out, notes=(f"drawn pictures: {data}", *loaded.notes))
    metrics = api.evaluate(run.folder, split="test", pictures=PREDICTED)
    pictures = list(picture_files([data / "images" / "test"]))[:PREDICTED]
    predictions = api.predict_files(run.folder, pictures, out=run.folder / "predictions")
    print(
        f"\nOn {metrics['images']} held-out pictures: AP50 {metrics['AP50']:.3f}, AP {metrics['AP']:.3f}\n"
        f"  run          {run.folder}\n"
        f"  evaluation   {metrics['folder']}  (pictures: truth beside prediction)\n"
        f"  predictions  {predictions}\n"
        f"Next: dinotune predict {run.folder} YOUR_PICTURES, "
        "or your own data: dinotune train faster_rcnn data=FOLDER"
    )
    return run
