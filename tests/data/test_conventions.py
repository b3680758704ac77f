"""Boxes written by another convention than the format's."""

from pathlib import Path

import numpy as np
import pytest

from dinotune.data.formats.conventions import WrittenBoxes
from dinotune.data.problems import Findings, Kind


@pytest.mark.parametrize(("slips", "kinds"), [(0, [Kind.CORNERS_AS_SIDES]), (1, [Kind.CORNERS_AS_SIDES]), (5, [])])
def test_a_slip_among_a_hundred_boxes_does_not_hide_the_convention(slips: int, kinds: list[Kind]) -> None:
    boxes = np.tile([30.0, 20.0, 55.0, 38.0], (100, 1))
    boxes[:slips] = [50, 30, 5, 5]
    written, findings = WrittenBoxes(), Findings()
    written.add(boxes, (40, 60))
    written.check_sides(Path("a.json"), findings)
    assert [problem.kind for problem in findings.problems] == kinds
