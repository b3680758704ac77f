"""Words of a sweep: commas outside of brackets and quotes make an axis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinotune.errors import SettingsError
from dinotune.sweeping.grammar import Words, parse, split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,1,2", ("0", "1", "2")),
        ("lora", ("lora",)),
        ("[1,2]", ("[1,2]",)),
        ("[1,2],[3, 4]", ("[1,2]", "[3, 4]")),
        ("[[1,2],[3]],last", ("[[1,2],[3]]", "last")),
        ("{kind: steps, epochs: [3,4]},cosine", ("{kind: steps, epochs: [3,4]}", "cosine")),
        ('"a,b",c', ('"a,b"', "c")),
        ("['a]','b'],x", ("['a]','b']", "x")),
        ("Tom's,Ann's", ("Tom's", "Ann's")),
        ("0, 1", ("0", "1")),
        ("", ("",)),
        ("1,", ("1", "")),
    ],
)
def test_values(text: str, values: tuple[str, ...]) -> None:
    assert split_values(text) == values


@given(st.lists(st.text("abc01._-", min_size=1), min_size=1))
def test_plain_values_come_back(values: list[str]) -> None:
    assert split_values(",".join(values)) == tuple(values)


def test_axes_and_settings_are_told_apart() -> None:
    words = parse(["seed=0,1", "head.slots=30", "adapter=frozen,lora", "backbone.blocks=[1,2]"])
    expected: dict[str, tuple[str, ...]] = {"seed": ("0", "1"), "adapter": ("frozen", "lora")}
    assert words == Words(expected, ("head.slots=30", "backbone.blocks=[1,2]"))
    assert list(words.axes) == list(expected)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        parse(["seed=0,1,0", "head=detr,", "epochs", "data=a", "data=b", "=3"])
    assert str(error.value).splitlines() == [
        "seed: 0 is named twice; name each value once",
        "head: detr, has an empty value; remove a comma, or quote a value that holds commas",
        '"epochs": no setting; write key=value, or key=a,b,c to train each of them',
        "data: given twice; name all of its values in one word: data=a,b,c",
        '"=3": no setting; write key=value, or key=a,b,c to train each of them',
    ]
