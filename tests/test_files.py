"""A file is the old one or the whole new one, and others may read it."""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dinotune.errors import SettingsError
from dinotune.files import check_folder, write_atomically, write_json, write_text


@pytest.fixture
def umask() -> Iterator[Callable[[int], object]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the n")
        assert temporary.parent == file.parent, "renaming must not cross file systems"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file], "nothing half is left behind"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/elsewhere")

    for path, said in (
        (tmp_path / "weights", "No space left"),
        (tmp_path / "file" / "weights", "File exists|Not a directory"),
    ):
        with pytest.raises(OSError, match=said) as raised:
            write_atomically(path, fail)
        assert raised.value.filename == str(path)


def test_folders_that_cannot_be_written_to_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_folder(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"file is a file; name a folder"):
        check_folder(tmp_path / "file" / "deep")
    # Permissions hold nothing back from root, which tests often run as.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match=rf"out: {tmp_path} cannot be written to; name another folder"):
        check_folder(tmp_path / "new" / "deep")


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("old")
    with file.open() as opened:

        def write(temporary: Path) -> None:
            temporary.write_text("new")
            assert file.read_text() == "old"

        write_atomically(file, write)
        assert opened.read() == "old"
    assert file.read_text() == "new"


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "weights", lambda _: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: Callable[[int], object], mask: int, mode: int) -> None:
    def private(temporary: Path) -> None:
        temporary.touch(mode=0o600)

    umask(mask)
    write_atomically(tmp_path / "file", private)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert os.umask(mask) == mask, "the umask itself stays"


def test_text_and_json_make_their_folders_and_keep_umlauts(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "er" / "text", "Größe\n")
    assert (tmp_path / "deep" / "er" / "text").read_bytes() == "Größe\n".encode()
    write_json(tmp_path / "value.json", {"name": "Größe", "numbers": [1, 2.5, None]})
    assert json.loads((tmp_path / "value.json").read_bytes()) == {"name": "Größe", "numbers": [1, 2.5, None]}
    assert "Größe" in (tmp_path / "value.json").read_text(encoding="utf-8")
