"""Files and functions stay small, and nothing names one machine."""

import ast
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("tests/**/*.py")] if path.stat().st_size)
SKIPPED = {".git", ".venv", "runs", "dist", "build", "site", "uv.lock", "__pycache__", ".hypothesis"}
TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".cff", ".html", ".txt", ".json", ""}
ONE_MACHINE = re.compile(r"(?<![\w.])/(work|root|home|Users)/|pypi\.org|pythonhosted|index-url|artifactory")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.count("\n") <= 400
    docstring = ast.get_docstring(tree)
    assert docstring
    assert docstring.count("\n") <= 8
    too_long, too_many = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if (node.end_lineno or first) - first + 1 > 60:
                too_long.append(node.name)
            if len([parameter for parameter in parameters if parameter.arg not in ("self", "cls")]) > 8:
                too_many.append(node.name)
    assert (too_long, too_many) == ([], [])


def files() -> list[Path]:
    found = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if name not in SKIPPED and not name.endswith(("_cache", ".egg-info"))]
        found += [Path(folder) / name for name in names if name not in SKIPPED and Path(name).suffix in TEXTS]
    return [path for path in found if path.stat().st_size < 1_000_000 and path != Path(__file__)]


def test_no_file_names_one_machine() -> None:
    named = []
    for path in files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if ONE_MACHINE.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert named == []


def test_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[0] == "#!/usr/bin/env bash"
