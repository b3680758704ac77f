"""What all tests share: the place of real data."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets; tests that need it are skipped where it is absent."""
    beside_repository = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DINOTUNE_TEST_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DINOTUNE_TEST_DATA to its folder")
    return folder
