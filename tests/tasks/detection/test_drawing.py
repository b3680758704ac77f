"""Drawn pictures: boxes where they are due, in the colour of their class, with text that can be read."""

import subprocess
import sys

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from dinotune.tasks.colours import class_colour
from dinotune.tasks.detection.drawing import draw_comparison, draw_detections
from dinotune.tasks.drawings import GAP

GREY = Image.new("RGB", (640, 480), (128, 128, 128))


def detections(boxes: list[list[float]], class_ids: list[int]) -> sv.Detections:
    return sv.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        class_id=np.array(class_ids, np.int64),
        data={"class_name": np.array(["cat", "dog", "kite"])[class_ids]},
    )


def extent(picture: Image.Image, colour: tuple[int, int, int]) -> list[int]:
    ys, xs = np.nonzero((np.asarray(picture) == colour).all(axis=2))
    return [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())]


def test_boxes_stand_where_they_are_due_in_the_colour_of_their_class() -> None:
    drawn = draw_detections(GREY, detections([[100, 100, 300, 250], [350, 200, 600, 450]], [0, 2]))
    assert drawn.size == GREY.size
    assert GREY.getcolors() == [(640 * 480, (128, 128, 128))]
    left, top, right, bottom = extent(drawn, class_colour(0))
    assert (left, right, bottom) == pytest.approx((100, 300, 250), abs=2)
    assert 70 < top < 95  # the label stands above the box
    assert extent(drawn, class_colour(2))[2:] == pytest.approx([600, 450], abs=2)
    _, text_top, _, text_bottom = extent(drawn, (255, 255, 255))
    assert 70 < text_top < text_bottom < 200


def test_a_class_keeps_its_colour_whatever_else_is_there() -> None:
    box = [100.0, 100.0, 300.0, 250.0]
    alone = draw_detections(GREY, detections([box], [1]))
    among = draw_detections(GREY, detections([[400, 300, 600, 450], box], [2, 1]), scores=False)
    assert alone.getpixel((100, 200)) == among.getpixel((100, 200)) == class_colour(1)


def test_colours_of_40_classes_differ() -> None:
    colours = np.array([class_colour(class_id) for class_id in range(40)], np.int64)
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(40, dtype=np.int64)
    assert distance.min() > 15
    assert distance[np.arange(39), np.arange(1, 40)].min() > 100


def test_label_of_a_box_at_the_upper_edge_stays_in_the_picture() -> None:
    drawn = np.asarray(draw_detections(GREY, detections([[200, 0, 500, 300]], [0])))
    label = (drawn[4:18, 206:240] == class_colour(0)).all(axis=2)
    assert label.mean() > 0.3
    assert (drawn[4:18, 206:240] == 255).all(axis=2).any()


def test_scores_and_names_change_the_label() -> None:
    found = detections([[100, 100, 300, 250]], [0])
    with_score, without = draw_detections(GREY, found), draw_detections(GREY, found, scores=False)
    label_width = [
        int((np.asarray(picture)[80:95] == class_colour(0)).all(axis=2).any(axis=0).sum())
        for picture in (with_score, without)
    ]
    assert label_width[0] > label_width[1] > 10


def test_small_pictures_are_enlarged_with_their_boxes() -> None:
    found = detections([[20, 30, 80, 90]], [0])
    drawn = draw_detections(Image.new("RGB", (160, 128)), found)
    assert drawn.size == (480, 384)
    left, _, right, bottom = extent(drawn, class_colour(0))
    assert (left, right, bottom) == pytest.approx((60, 240, 270), abs=2)
    assert found.xyxy.tolist() == [[20, 30, 80, 90]]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_mode_of_picture(mode: str) -> None:
    assert draw_detections(GREY.convert(mode), detections([[10, 40, 100, 90]], [0])).mode == "RGB"


def test_nothing_detected_and_nothing_but_boxes() -> None:
    assert draw_detections(GREY, sv.Detections.empty()).tobytes() == GREY.tobytes()
    bare = sv.Detections(xyxy=np.array([[100.0, 100.0, 300.0, 250.0]]))
    assert draw_detections(GREY, bare).getpixel((100, 200)) == class_colour(0)


def test_comparison_has_truth_on_the_left() -> None:
    truth, predicted = detections([[100, 100, 300, 250]], [0]), detections([[100, 100, 300, 250]], [1])
    both = draw_comparison(GREY, truth, predicted)
    assert both.size == (2 * 640 + GAP, 480)
    assert both.getpixel((100, 200)) == class_colour(0)
    assert both.getpixel((640 + GAP + 100, 200)) == class_colour(1)


def test_supervision_is_not_imported_before_drawing() -> None:
    code = (
        "import sys, dinotune.tasks.detection.drawing; sys.exit('supervision' in sys.modules or 'cv2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0
