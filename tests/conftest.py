"""What all tests share: the place of real data, one thread per process, no settings from the environment."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when a test loads it, and by the processes tests start


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets; tests that need it are skipped where it is absent."""
    beside_repository = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DINOTUNE_TEST_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DINOTUNE_TEST_DATA to its folder")
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DINOTUNE__")]:
        monkeypatch.delenv(name)
