"""The README's commands and Python examples run, with settings that make them short.

`pip install` and `pytest` are not run; `SHORTER` and `SHORTER_PYTHON` say what is changed.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dinotune import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TINY = ["backbone=tiny-dinov2-reg", "data.size=64", "data.workers=0", "training.epochs=1", "device=cpu"]
SHORTER = {
    "quickstart": ["data.train.limit=8", "data.val.limit=4", *TINY[3:]],
    "new": ["--backbone", "tiny-dinov2-reg"],
    "train": ["head.channels=16", *TINY],
}
SHORTER_PYTHON = {
    'data="my_pictures"': 'data=dt.Data(root="my_pictures", size=64, workers=0), device="cpu"',
    "facebook/dinov2-with-registers-small": "tiny-dinov2-reg",
    "facebook/dinov3-vits16-pretrain-lvd1689m": "tiny-dinov3",
    "epochs=5": "epochs=1",
}
NOT_RUN = re.compile(r"pip install|uv run pytest")


def commands() -> list[str]:
    """The commands in the README's shell blocks, one by one."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [command.strip() for line in lines for command in line.split("&&")]


def draw_pictures(folder: Path) -> None:
    """A data set in COCO's layout, with a bright box in each picture."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (folder / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            pixels = generator.integers(0, 99, (64, 64, 3), dtype=np.uint8)
            pixels[16:48, 8:40] = 255
            name = f"{number}.png"
            Image.fromarray(pixels).save(folder / "images" / split / name)
            images.append({"id": number, "file_name": name, "width": 64, "height": 64})
            box = {"id": number + 1, "image_id": number, "category_id": 1, "bbox": [8, 16, 32, 32]}
            annotations.append({**box, "area": 1024, "iscrowd": 0})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def test_two_commands_are_there() -> None:
    assert "pip install uv && uv run dinotune quickstart" in README.splitlines()
    assert "uv run pytest" in README.splitlines()


def test_commands_and_example_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_pictures(tmp_path / "my_pictures")
    monkeypatch.chdir(tmp_path)
    ran = []
    for command in commands():
        if NOT_RUN.search(command):
            continue
        uv, run, program, verb, *rest = shlex.split(command)
        assert (uv, run, program) == ("uv", "run", "dinotune")
        assert cli.run([verb, *rest, *SHORTER.get(verb, [])]) == 0, command
        ran.append(verb)
    assert {"quickstart", "new", "check", "train", "evaluate", "predict"} <= set(ran)
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (training,) = re.findall(r"^```py\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for written, shorter in SHORTER_PYTHON.items():
        assert written in training
        training = training.replace(written, shorter)
    exec(compile(example + training, "README.md", "exec"), {"images": torch.rand(1, 3, 64, 64)})


def test_tree_names_files_that_exist() -> None:
    tree = README.split("## The repository")[1]
    source = re.findall(r"^    (\S+)", tree, re.MULTILINE)
    assert len(source) > 10
    assert [name for name in source if not (ROOT / "src/dinotune" / name).exists()] == []
