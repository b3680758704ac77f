"""Problems: how they are written, which stop, and how settings act on them."""

from pathlib import Path

import pytest

from dinotune import config
from dinotune.data.problems import FileError, Findings, Kind, Problem, counted
from dinotune.data.records import LabelSet
from dinotune.data.splits import apply_on_error, read_records
from dinotune.errors import DataError
from tests.data.broken_sets import CocoSet


@pytest.mark.parametrize(
    ("line", "entry", "expected"),
    [
        (None, "", "a/b.json: wrong"),
        (7, "", "a/b.json:7: wrong"),
        (None, "annotation 3", "a/b.json (annotation 3): wrong"),
        (7, "annotation 3", "a/b.json:7 (annotation 3): wrong"),
    ],
)
def test_places_are_written_as_editors_take_them(line: int | None, entry: str, expected: str) -> None:
    problem = Problem(Kind.EMPTY_BOX, Path("a/b.json"), "wrong", line, entry)
    assert str(problem) == expected
    assert str(FileError(problem)) == expected


def test_notes_count_each_kind_and_name_the_first_places() -> None:
    findings = Findings()
    for line in range(1, 6):
        findings.add(Kind.EMPTY_BOX, Path("a.xml"), "flat", line=line)
    findings.add(Kind.MISSING_BOX, Path("b.xml"), "no `bndbox`,\n  mend it")
    assert findings.notes() == (
        "5 × box without an area, left out: a.xml:1, a.xml:2, a.xml:3, …",
        "1 × object without a box, left out: b.xml: no `bndbox`, mend it",
    )
    assert [problem.kind for problem in findings.stopping] == [Kind.MISSING_BOX]


@pytest.mark.parametrize(
    ("kinds", "settings", "message"),
    [
        ([Kind.EMPTY_BOX] * 500, {}, None),
        ([Kind.MISSING_BOX], {"on_error": "skip"}, None),
        ([Kind.MISSING_BOX] * 5, {"on_error": "skip", "max_skipped": 5}, None),
        ([Kind.MISSING_BOX] * 6, {"on_error": "skip", "max_skipped": 5}, "data.max_skipped=6 allows so many"),
        ([Kind.MISSING_BOX], {"on_error": "skip", "max_skipped": 0}, "data.max_skipped=1 allows so many"),
        ([Kind.MISSING_BOX], {}, "`dinotune check birds` lists all; data.on_error=skip goes on without them"),
    ],
)
def test_on_error(kinds: list[Kind], settings: dict[str, object], message: str | None) -> None:
    data = config.Data.model_validate({"root": "birds", **settings})
    findings = Findings([Problem(kind, Path("a.xml"), "wrong", line) for line, kind in enumerate(kinds)])
    if message is None:
        apply_on_error(data, findings)
        return
    with pytest.raises(DataError) as error:
        apply_on_error(data, findings)
    assert str(error.value).endswith(message)


def test_the_error_lists_some_of_each_kind_and_counts_the_others() -> None:
    problems = [Problem(Kind.MISSING_BOX, Path("a.xml"), "no `bndbox`", line) for line in range(1, 13)]
    problems.append(Problem(Kind.UNKNOWN_CLASS, Path("b.xml"), "what?"))
    with pytest.raises(DataError) as error:
        apply_on_error(config.Data(root=Path("birds")), Findings(problems), "train", LabelSet(("owl", "kite"), (1, 2)))
    first, classes, *lines, more, _ = str(error.value).splitlines()
    assert first == "birds: train: 12 x object without a box, 1 x unknown class"
    assert classes == "  classes of the model: owl, kite"
    assert lines == [*(f"  a.xml:{line}: no `bndbox`" for line in range(1, 6)), "  b.xml: what?"]
    assert more == "  … and 7 more"


def test_skipping_reads_the_rest(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    data.box("good0.png", [1, 2, 3])
    data.add("gone.png").unlink()
    data.write()
    with pytest.raises(DataError, match=r"1 x picture that does not exist, 1 x box that is not four numbers"):
        read_records(config.Data(root=tmp_path), "train", seed=0)
    records = read_records(config.Data(root=tmp_path, on_error="skip"), "train", seed=0)
    assert (len(records), len(records.boxes)) == (4, 8)
    file = tmp_path / "annotations/instances_train.json"
    assert records.notes == (
        f"1 × picture that does not exist, left out: {file}:6 (images[4]): {tmp_path / 'images/train/gone.png'} does not exist",
        f"1 × box that is not four numbers, left out: {file}:21 (annotation 5010): bbox [1, 2, 3] is not [x, y, width, height]",
    )


def test_what_left_nothing_to_read_is_said_first(tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    for picture in data.pictures["train"]:
        picture["height"] = "high"
    data.write()
    with pytest.raises(DataError, match=r"4 x picture without a usable id, name or size"):
        read_records(config.Data(root=tmp_path), "train", seed=0)
    with pytest.raises(DataError, match=r"no pictures; an empty split"):
        read_records(config.Data(root=tmp_path, on_error="skip"), "train", seed=0)


@pytest.mark.parametrize(
    ("number", "noun", "words"), [(1, "class", "1 class"), (0, "box", "0 boxes"), (1200, "picture", "1,200 pictures")]
)
def test_counted(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words
