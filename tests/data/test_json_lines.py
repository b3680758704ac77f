"""Lines of entries in JSON files of any layout."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinotune.data.formats.json_lines import entry_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=5), st.lists(VALUES, max_size=5), VALUES, st.sampled_from([None, 0, 3]), st.booleans())
def test_every_entry_is_found_where_json_put_it(
    first: list[Any], second: list[Any], other: Any, indent: int | None, ascii_: bool
) -> None:
    marked = {
        key: [{"marker": f"<{key}{i}>", "value": value} for i, value in enumerate(values)]
        for key, values in (("images", first), ("annotations", second))
    }
    content = {"info": other, "images": marked["images"], "x": [], "annotations": marked["annotations"], "last": other}
    text = "\n " + json.dumps(content, indent=indent, ensure_ascii=ascii_) + "\n"
    wanted = {(key, i) for key, entries in marked.items() for i in range(len(entries))}
    lines = entry_lines(text, wanted)
    assert lines.keys() == wanted
    # An entry's marker stands in the line after its brace, or in the same where all is one line.
    for (key, index), line in lines.items():
        marker_line = text[: text.index(f'"<{key}{index}>"')].count("\n") + 1
        assert line == marker_line - (indent is not None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":[1,\n2\n,3]}', {0: 1, 1: 2, 2: 3}),
        ('{"a":\n[]}', {}),
        ('{"a":\n5}', {}),
        ('{"a": [1], "a": [\n2]}', {0: 2}),
        ("\n{}", {}),
        ('{"a": [4, 5, 6]}', {0: 1, 1: 1, 2: 1}),
    ],
)
def test_odd_layouts(text: str, expected: dict[int, int]) -> None:
    """Of a key that occurs twice, the last one counts, as in `json.loads`."""
    assert entry_lines(text, {("a", i) for i in range(3)}) == {("a", i): line for i, line in expected.items()}


def test_a_list_at_the_top() -> None:
    assert entry_lines('\n[{"a": 1},\n\n2]\n', {("", 0), ("", 1)}) == {("", 0): 2, ("", 1): 4}
