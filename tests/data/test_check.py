"""The check of a data set: every way to be broken is named with file and line, in each format; nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from dinotune import config
from dinotune.data.checks.data_set import check_data
from dinotune.data.checks.report import describe, to_json
from dinotune.data.problems import Kind, Problem
from tests.data.broken_sets import ALONE, TOGETHER, Case, CocoSet, draw, line_of
from tests.data.broken_voc_yolo import VOC, YOLO, VocCase, write_voc, write_yolo
from tests.data.small_sets import write_coco_set


def problems_of(root: Path) -> list[Problem]:
    return check_data(config.Data(root=root)).findings.problems


def assert_said(problems: list[Problem], case: Case | VocCase, root: Path) -> None:
    """One problem of the kind has the file, the line of the marker, and the message."""
    assert case.kind in {problem.kind for problem in problems}, problems
    found = [p for p in problems if p.kind is case.kind and case.file in str(p.file) and case.message in p.message]
    assert len(found) == 1, (case, [str(p) for p in problems if p.kind is case.kind])
    (said,) = found
    assert said.file.is_file() or case.kind is Kind.MISSING_PICTURE
    assert said.file.is_relative_to(root)
    assert said.line == (None if case.marker is None else line_of(said.file, case.marker))


def test_a_good_set_has_no_problems(tmp_path: Path) -> None:
    CocoSet(tmp_path / "coco").write()
    write_voc(tmp_path / "voc")
    write_yolo(tmp_path / "yolo", {"a": "1 0.5 0.5 0.4 0.6\n", "b": "0 0.5 0.5 0.4 0.6\n"})
    for folder in ("coco", "voc", "yolo"):
        assert problems_of(tmp_path / folder) == []


def test_one_picture_is_too_few_and_no_setting_helps(tmp_path: Path) -> None:
    write_coco_set(tmp_path, images=[{"id": 7, "file_name": "seven.jpg", "height": 40, "width": 60}])
    check = check_data(config.Data(root=tmp_path, on_error="skip"))
    (problem,) = (problem for problem in check.findings.problems if problem.kind is Kind.UNUSABLE_SPLIT)
    assert problem.message == "train: one picture cannot be split into train and val; add pictures"
    assert describe(check)[-1] == "2 problems stop a training (2 remarks). Mend them."


@pytest.mark.parametrize("name", [*TOGETHER, *ALONE])
def test_one_way_to_be_broken(tmp_path: Path, name: str) -> None:
    """It is named; and no other stops a training, so nothing good is spoken ill of."""
    case = {**TOGETHER, **ALONE}[name]
    data = CocoSet(tmp_path)
    data.write()
    case.build(data)
    if name not in ("broken JSON", "wrong folder"):
        data.write()
    problems = problems_of(tmp_path)
    assert_said(problems, case, tmp_path)
    expected = {case.kind} if case.kind.value.stops else set()
    if name == "corners in COCO":
        expected |= {Kind.OUTSIDE_BOX}
    assert {problem.kind for problem in problems if problem.kind.value.stops} <= expected


def test_all_ways_together(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    for case in TOGETHER.values():
        case.build(data)
    data.write()
    problems = problems_of(tmp_path)
    for case in TOGETHER.values():
        if case.kind is not Kind.SMALL_OBJECTS:  # its message counts all objects
            assert_said(problems, case, tmp_path)


@pytest.mark.parametrize("name", VOC)
def test_voc(tmp_path: Path, name: str) -> None:
    write_voc(tmp_path)
    VOC[name].change(tmp_path)
    problems = problems_of(tmp_path)
    assert_said(problems, VOC[name], tmp_path)
    assert {p.kind for p in problems if p.kind.value.stops} <= {VOC[name].kind}


def test_voc_together(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for case in VOC.values():
        case.change(tmp_path)
    problems = problems_of(tmp_path)
    for case in VOC.values():
        assert_said(problems, case, tmp_path)


def test_sides_for_corners_in_voc(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for file in (tmp_path / "Annotations").glob("*.xml"):
        text = file.read_text().replace("<xmin>2<", "<xmin>40<").replace("<xmax>30<", "<xmax>15<")
        file.write_text(text.replace("<ymax>34<", "<ymax>20<"))
    (said,) = {p for p in problems_of(tmp_path) if p.kind is Kind.SIDES_AS_CORNERS and "9 of 9" in p.message}
    assert said.file == tmp_path / "Annotations"
    assert "write x + width and y + height" in said.message


@pytest.mark.parametrize("kind", YOLO)
def test_yolo(tmp_path: Path, kind: Kind) -> None:
    good = "1 0.3 0.3 0.4 0.4\n0 0.5 0.5 0.4 0.6\n"
    write_yolo(tmp_path, {"a": good, "b": good + YOLO[kind]})
    (said,) = [problem for problem in problems_of(tmp_path) if problem.kind is kind]
    assert (said.file, said.line) == (tmp_path / "labels/train/b.txt", 3)


def test_many_kinds_are_covered() -> None:
    coco = {case.kind for case in (*TOGETHER.values(), *ALONE.values())}
    shown = coco | {case.kind for case in VOC.values()} | set(YOLO)
    assert len(shown) >= 45
    assert len(Kind) == len(Kind.__members__), "two kinds with the same words would be one"
    untested = {kind.name for kind in Kind} - {kind.name for kind in shown}
    assert untested <= {
        "SIDES_AS_CORNERS",  # above
        *("ORPHAN_LABEL", "BROKEN_LABEL", "MISSING_LABELS", "UNEQUAL_LISTS"),
        *(
            "MISSING_MASK",
            "ORPHAN_MASK",
            "UNREADABLE_MASK",
            "WRONG_MASK_SIZE",
            "UNKNOWN_VALUE",
            "ALL_IGNORED",
            "MALFORMED_MASK",
            "UNPAINTABLE_MASK",
            "UNCLEAR_TURN",
        ),
        *("BROKEN_YAML", "UNCLEAR_CLASS", "NAMELESS_CLASSES", "CLASS_COUNT", "STALE_PATH"),
        "BROKEN_BATCH",
    }, "tests of the readers show these"


def test_limits_and_skipping_do_not_hide_anything(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    TOGETHER["truncated picture"].build(data)
    data.write()
    settings = {"root": tmp_path, "on_error": "skip", "train": {"limit": 1}}
    found = check_data(config.Data.model_validate(settings))
    assert found.decoded == 6
    assert [problem.kind for problem in found.findings.stopping] == [Kind.UNREADABLE_PICTURE]


def test_counts(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    data.box("good0.png", [0, 0, 60, 40], iscrowd=1)
    data.box("good0.png", [0, 0, 30.0, 30])
    data.box("good0.png", [0, 0, 60, 40], area=9217)
    draw(tmp_path / "images/val/blank.png", 77)
    data.pictures["val"].append({"id": 70, "file_name": "blank.png", "height": 40, "width": 60})
    data.write()
    train, val = check_data(config.Data(root=tmp_path)).splits
    assert (train.pictures, train.boxes, train.ignored, train.without_objects) == (4, 10, 1, 0)
    assert dict(train.sizes) == {"small": 9, "medium": 0, "large": 1}
    assert dict(train.classes) == {"dog": 4, "mug": 6}
    assert (val.pictures, val.boxes, val.without_objects) == (2, 2, 1)


def test_small_objects_fit_the_advised_size(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    for number in range(20):
        data.box("good0.png", [number, 3, 0.4 + 0.04 * number, 0.6])
    data.write()
    (said,) = [p for p in problems_of(tmp_path) if p.kind is Kind.SMALL_OBJECTS]
    assert "20 of 28 objects (71.4%) are smaller than a patch of 16 x 16 at data.size=640" in said.message
    assert said.message.endswith("; pictures have 40 px, beyond which little is gained")
    advised = int(said.message.split("; data.size=")[1].split()[0])
    sides = [((0.4 + 0.04 * number) * 0.6) ** 0.5 * advised / 40 for number in range(20)]
    assert sum(side >= 16 for side in sides) >= 18
    assert sum(side * (advised - 16) / advised >= 16 for side in sides) <= 18, "no larger than needed"


def test_report(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    for number in range(23):
        data.spoilt(f"flat{number}", [5, 5, 0, 9])
    TOGETHER["zero bytes"].build(data)
    data.write()
    found = check_data(config.Data(root=tmp_path))
    lines = describe(found)
    assert "box without an area: 23 (left out)" in lines
    assert sum("(annotation " in line for line in lines) == 20
    assert "  … and 3 more; --all shows them, --report FILE writes them" in lines
    assert lines.index("picture file without content: 1 (left out; stops a training)") < lines.index(
        "box without an area: 23 (left out)"
    )
    assert lines[-1].startswith("1 problem stops a training (23 remarks).")
    assert sum("(annotation " in line for line in describe(found, None)) == 23
    page = to_json(found)
    assert (page["fine"], len(page["problems"]), page["splits"][0]["pictures"]) == (False, 24, 28)
    assert page["problems"][0]["line"] == line_of(tmp_path / "annotations/instances_train.json", '"flat0"')


def test_the_check_loads_no_torch(tmp_path: Path) -> None:
    CocoSet(tmp_path).write()
    code = f"import sys; from dinotune import checking; checking.check({str(tmp_path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_blood_cells(shared_data: Path) -> None:
    found = check_data(config.Data(root=shared_data / "bccd"))
    places = [(p.kind, p.file.name, p.line) for p in found.findings.problems]
    assert places == [
        (Kind.EMPTY_BOX, "BloodImage_00343.xml", 50),
        (Kind.EMPTY_BOX, "BloodImage_00338.xml", 158),
    ]
    assert found.decoded == 364


def test_nuclei_and_coco53_are_fine(shared_data: Path) -> None:
    for name in ("nuclei", "coco53"):
        assert not check_data(config.Data(root=shared_data / name)).findings.stopping
