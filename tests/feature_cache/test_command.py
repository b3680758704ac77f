"""`dinotune cache`: compute beforehand, list, remove."""

from pathlib import Path

import pytest

from dinotune import cli
from dinotune.config.loading import dump_experiment
from dinotune.files import write_text
from tests.feature_cache.cached_runs import experiment


@pytest.fixture
def words(shapes: Path, tmp_path: Path) -> list[str]:
    """An experiment without a cache of its own, and where caches shall lie."""
    write_text(tmp_path / "page.yaml", dump_experiment(experiment(shapes, "faster_rcnn", {"training.epochs": "1"})))
    return [str(tmp_path / "page.yaml"), f"feature_cache.folder={tmp_path / 'cache'}"]


def test_what_it_computes_is_what_training_takes(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["cache", *words]) == 0
    assert "54 views of data train to compute" in capsys.readouterr().out
    assert cli.run(["train", *words, "feature_cache=on", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "to compute" not in said
    assert "feature cache: 60 views" in said


def test_caches_are_listed_and_removed(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cache", *words]) == 0
    assert cli.run(["cache", "--list", words[1]]) == 0
    said = capsys.readouterr().out
    assert "tiny-dinov3" in said
    assert "train" in said
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 2
    assert cli.run(["cache", "--delete", *words]) == 0
    assert "removed" in capsys.readouterr().out
    assert list((tmp_path / "cache").iterdir()) == []
    assert cli.run(["cache", "--delete", *words]) == 0
    assert "nothing is kept" in capsys.readouterr().out
    assert cli.run(["cache", "--list", words[1]]) == 0
    assert "no caches in" in capsys.readouterr().out


def test_it_asks_for_an_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cache"]) == 2
    assert "cache: name an experiment" in capsys.readouterr().err


def test_it_lists_or_deletes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cache", "--list", "--delete", *words]) == 2
    assert "take one" in capsys.readouterr().err
