"""From scores to the classes of pixels and to PNG files and back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from dinotune.data.records import LabelSet
from dinotune.tasks.colours import class_colour
from dinotune.tasks.drawings import GAP
from dinotune.tasks.segmentation.drawing import draw_classes, draw_comparison
from dinotune.tasks.segmentation.label_maps import best_classes, from_png, to_png


def test_the_truth_on_the_picture_s_own_grid_comes_back() -> None:
    truth = torch.randint(0, 4, (21, 34), generator=torch.Generator().manual_seed(0))
    scores = functional.one_hot(truth, 4).permute(2, 0, 1).float()
    assert np.array_equal(best_classes(scores, (21, 34)), truth.numpy())


def test_classes_are_decided_after_enlarging() -> None:
    # Between the cells' centres, class 1 is ahead as soon as a quarter of the way is done: 3 t > 1 - t.
    scores = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
    assert best_classes(scores, (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("ids", "mode"), [((0, 1), "P"), ((7, 255, 3), "P"), ((1, 6655), "I;16"), ((16711680, 255), "P"), ((-1, 4), "P")]
)
def test_png_and_back(ids: tuple[int, ...], mode: str) -> None:
    labels = LabelSet(tuple(f"class {id_}" for id_ in ids), ids)
    classes = np.random.default_rng(0).integers(0, len(ids), (13, 17)).astype(np.int16)
    content = to_png(classes, labels)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == mode
        written = np.asarray(image)
    expected = np.array(ids) if min(ids) >= 0 and max(ids) < 65536 else np.arange(len(ids))
    assert np.array_equal(written, expected[classes]), "the data set's own ids, or indices where they are too large"
    assert np.array_equal(from_png(content, labels), classes)


def test_drawing_covers_all_but_the_background_and_what_is_ignored() -> None:
    classes = np.zeros((500, 500), np.int16)
    classes[100:200, 100:200], classes[300:, 300:] = 1, -1
    grey = Image.new("RGB", (500, 500), (128, 128, 128))
    drawn = draw_classes(grey, classes, ("background", "cat"))
    assert drawn.getpixel((10, 10)) == drawn.getpixel((400, 400)) == (128, 128, 128)
    assert drawn.getpixel((150, 150)) == tuple(round((128 + side) / 2) for side in class_colour(1))
    assert drawn.height > 500, "a legend below"
    covered = draw_classes(grey, classes, ("sky", "cat"))
    assert covered.getpixel((10, 10)) != (128, 128, 128)
    both = draw_comparison(grey, classes, classes, ("sky", "cat"))
    assert both.width == 1000 + GAP
    empty = draw_classes(grey, np.zeros((500, 500), np.int16), ("background", "cat"))
    assert empty.size == drawn.size, "all frames of a video have one size"
    small = draw_classes(grey.resize((50, 40)), np.zeros((40, 50), np.int16), ("background",))
    assert small.size[0] == 500
