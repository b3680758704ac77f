"""Lower layers know nothing of higher ones, and what must be quick loads no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "lightning", "timm", "transformers", "supervision", "cv2"}


def test_import_layers_hold() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "statement",
    ["import dinotune", "import dinotune.cli", "import dinotune.config.loading", "import dinotune.data.formats"],
)
def test_quick_modules_load_no_torch(statement: str) -> None:
    script = f"import sys; {statement}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
