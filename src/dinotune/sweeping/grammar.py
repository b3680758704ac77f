"""Words of a sweep: a value with commas outside of brackets and quotes is an axis, any other is a setting of all."""

from collections.abc import Sequence
from dataclasses import dataclass

from dinotune.errors import SettingsError

OPENING, CLOSING, QUOTES = "[{(", "]})", "'\""


@dataclass(frozen=True)
class Words:
    """What is varied, and what is the same for all."""

    axes: dict[str, tuple[str, ...]]
    """Key to its values as written, in the order given."""
    settings: tuple[str, ...]
    """``key=value`` words."""


def parse(words: Sequence[str]) -> Words:
    """Sort ``key=value`` and ``key=a,b,c`` words.

    Raises:
        SettingsError: all words that are none, keys given twice, and axes with an empty or repeated value.
    """
    axes: dict[str, tuple[str, ...]] = {}
    settings: dict[str, str] = {}
    problems = []
    for word in words:
        key, equals, text = word.partition("=")
        values = split_values(text)
        if not equals or not key:
            problems.append(f'"{word}": no setting; write key=value, or key=a,b,c to train each of them')
        elif key in axes or key in settings:
            problems.append(f"{key}: given twice; name all of its values in one word: {key}=a,b,c")
        elif len(values) == 1:
            settings[key] = word
        else:
            problems += check_values(key, values)
            axes[key] = values
    if problems:
        raise SettingsError("\n".join(problems))
    return Words(axes, tuple(settings.values()))


def check_values(key: str, values: Sequence[str]) -> list[str]:
    """What is wrong with the values of an axis."""
    if "" in values:
        return [f"{key}: {','.join(values)} has an empty value; remove a comma, or quote a value that holds commas"]
    twice = sorted({value for value in values if values.count(value) > 1})
    return [f"{key}: {', '.join(twice)} is named twice; name each value once"] if twice else []


def split_values(text: str) -> tuple[str, ...]:
    """Parts of a text between the commas that stand outside of brackets and quotes: ``[1,2],3`` has two."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES and not parts[-1].strip("[{( "):
            quote = character  # an apostrophe within a word quotes nothing
        elif character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        if character == "," and depth <= 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(part.strip() for part in parts)
