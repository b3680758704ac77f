"""Lines of the entries of a JSON file, for messages; Python's parser keeps no positions."""

import json
from collections.abc import Collection

WHITESPACE = " \t\n\r"

_decoder = json.JSONDecoder()


def entry_lines(text: str, entries: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """1-based lines of the entries `(key, index)` of a JSON object's lists: `("annotations", 17)`; or, with the key "", of
    the list at the top.

    The text must be what `json.loads` takes, an object or a list at the top; the entries must be there. Costs one more parsing of the file.
    """
    if "\n" not in text:  # as in COCO's own files of 500 MB
        return dict.fromkeys(entries, 1)
    wanted: dict[str, set[int]] = {}
    for key, index in entries:
        wanted.setdefault(key, set()).add(index)
    positions: dict[tuple[str, int], int] = {}
    at = _next(text, 0)
    if text[at] == "[":
        _walk(text, at, "", wanted.get("", set()), positions)
        return _lines(text, positions)
    at += 1
    while text[at := _next(text, at)] != "}":
        key, at = _decoder.raw_decode(text, at)
        at = _next(text, _next(text, at) + 1)
        if key in wanted and text[at] == "[":
            at = _walk(text, at, key, wanted[key], positions)
        else:
            at = _decoder.raw_decode(text, at)[1]
        at = _after_comma(text, at)
    return _lines(text, positions)


def _walk(text: str, at: int, key: str, wanted: set[int], positions: dict[tuple[str, int], int]) -> int:
    """Go through the list at `at`, note where its wanted entries begin, and return where the list ends."""
    index = 0
    at += 1
    while text[at := _next(text, at)] != "]":
        if index in wanted:
            positions[key, index] = at
        at = _after_comma(text, _decoder.raw_decode(text, at)[1])
        index += 1
    return at + 1


def _next(text: str, at: int) -> int:
    while text[at] in WHITESPACE:
        at += 1
    return at


def _after_comma(text: str, at: int) -> int:
    at = _next(text, at)
    return at + 1 if text[at] == "," else at


def _lines(text: str, positions: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    lines, line, counted = {}, 1, 0
    for entry, position in sorted(positions.items(), key=lambda item: item[1]):
        line += text.count("\n", counted, position)
        counted = position
        lines[entry] = line
    return lines
