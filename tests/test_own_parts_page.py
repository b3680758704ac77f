"""The how-to page of own parts: what it names exists, and its sketches and checks are as it says."""

import re
from pathlib import Path

import dinotune
import dinotune.testing
from dinotune.backbones.base import Backbone
from dinotune.backbones.slots import AfterBlocks
from dinotune.heads.base import Head

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/how-to/own_parts.md").read_text(encoding="utf-8")


def test_names_on_the_page_exist() -> None:
    assert {name for name in re.findall(r"\bdt\.(\w+)", PAGE) if not hasattr(dinotune, name)} == set()
    (imported,) = re.findall(r"from dinotune.testing import (.*)", PAGE)
    assert set(imported.split(", ")) <= set(dinotune.testing.__all__)
    for owner, names in {
        Head: ("class_rows", "evaluate", "size_multiple"),
        Backbone: ("put_after", "put_inside"),
    }.items():
        assert [name for name in names if not hasattr(owner, name) or name not in PAGE] == []
    assert f"{AfterBlocks.__module__}.{AfterBlocks.__name__}" in PAGE


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) == 4
    assert [link for link in links if not (ROOT / "docs/how-to" / link).is_file()] == []
