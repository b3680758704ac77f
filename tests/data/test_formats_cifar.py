"""CIFAR: read from files of the real layout, unpacked once and whole; what is pickled in them is never run."""

import builtins
import os
import pickle
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune import config
from dinotune.data import formats
from dinotune.data.checks.data_set import check_data
from dinotune.data.formats.cifar import unpack
from dinotune.data.formats.cifar.layout import CIFAR_10, CIFAR_100, Variant
from dinotune.data.formats.cifar.pickled import read_pickle
from dinotune.data.problems import FileError, Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.cifar_files import NAMES, PALETTE, dump, write_cifar

VARIANTS = pytest.mark.parametrize("variant", [CIFAR_10, CIFAR_100], ids=lambda variant: variant.name)


def read(root: Path, split: str = "test", **settings: Any) -> Records:
    return read_records(config.Data.model_validate({"root": root, **settings}), split, seed=0)


@VARIANTS
@pytest.mark.parametrize(("protocol", "as_bytes"), [(2, True), (2, False), (4, False), (5, False)])
def test_pictures_and_classes_are_those_of_the_files(
    tmp_path: Path, variant: Variant, protocol: int, as_bytes: bool
) -> None:
    write_cifar(tmp_path, variant, protocol=protocol, as_bytes=as_bytes)
    assert formats.detect_format(tmp_path) == "cifar"
    test = read(tmp_path)
    assert (test.labels, test.has) == (LabelSet(NAMES, tuple(range(9))), "classes")
    before = 9 * len(variant.splits["train"])
    for record in (test[index] for index in range(len(test))):
        pixels = np.asarray(Image.open(record.path))
        assert record.image_label is not None
        assert pixels.shape == (record.height, record.width, 3)
        assert tuple(pixels[5, 5].tolist()) == PALETTE[NAMES[record.image_label]]
        assert pixels[0, 1].tolist() == [before + record.image_id - 1] * 3, "in order, and not turned"


@VARIANTS
def test_validation_pictures_are_held_out_of_all_training_files(tmp_path: Path, variant: Variant) -> None:
    write_cifar(tmp_path, variant, per_file=18)
    train, val = (read(tmp_path, split) for split in ("train", "val"))
    whole = 18 * len(variant.splits["train"])
    assert (len(train) + len(val), len(val)) == (whole, round(0.2 * whole))
    folder = (tmp_path / f"{variant.folder}-pictures/train").resolve()
    assert train.notes[0] == f"{variant.name}: the pictures of {variant.folder} are unpacked in {folder}"
    assert {Path(path).parent.parent for path in train.paths.tolist()} == {folder}


@VARIANTS
def test_the_folder_of_the_files_itself_is_a_root_too(tmp_path: Path, variant: Variant) -> None:
    folder = write_cifar(tmp_path, variant)
    assert read(folder).paths.tolist() == read(tmp_path).paths.tolist()
    renamed = folder.rename(tmp_path / "mine")
    assert len(read(renamed)) == 9
    assert (tmp_path / "mine-pictures/test/red").is_dir()
    named = config.Data.model_validate({"test": {"annotations": renamed / variant.splits["test"][0]}})
    assert len(read_records(named, "test", seed=0)) == 9


def test_two_data_sets_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    for variant in (CIFAR_10, CIFAR_100):
        write_cifar(tmp_path, variant)
    with pytest.raises(DataError, match=r"holds CIFAR-10 and CIFAR-100; name one of them: .*-py, .*-100-python$"):
        read(tmp_path)
    assert len(read(tmp_path / CIFAR_100.folder)) == 9


def test_an_archive_is_said_to_be_one(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    archive = tmp_path / "my data" / CIFAR_10.archive
    archive.parent.mkdir()
    shutil.make_archive(str(archive).removesuffix(".tar.gz"), "gztar", tmp_path, folder.name)
    with pytest.raises(DataError, match=r"extract CIFAR first: tar -xzf '.*' -C '.*my data'$") as error:
        formats.detect_format(archive.parent)
    subprocess.run(shlex.split(str(error.value).rsplit("extract CIFAR first: ")[1]), check=True)
    assert len(read(archive.parent)) == 9


def test_classes_of_a_model_are_matched_by_name(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    known = LabelSet(("yellow", "red"), (7, 8))
    data = config.Data(root=tmp_path, on_error="skip")
    records = read_records(data, "test", seed=0, labels=known)
    assert records.labels == known
    assert records.image_labels is not None
    assert [Path(path).parent.name for path in records.paths.tolist()] == ["red", "yellow"]
    assert records.image_labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r'"black" is no class of yellow, red'):
        read_records(config.Data(root=tmp_path), "test", seed=0, labels=known)


def test_pictures_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path)
    first = read(tmp_path)
    monkeypatch.setattr(unpack, "_unpack", None)
    assert read(tmp_path).fingerprint() == first.fingerprint()


class Stopped(BaseException):
    """As Ctrl-C, at a chosen picture."""


@pytest.mark.parametrize("stop", [Stopped, OSError(28, "No space left on device")])
def test_interrupted_unpacking_leaves_nothing_and_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    write_cifar(tmp_path)
    save = Image.Image.save
    saved: list[Path] = []

    def stopping(image: Image.Image, path: Path) -> None:
        if len(saved) == 4:
            raise stop
        saved.append(path)
        save(image, path)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", stopping)
        with pytest.raises((Stopped, DataError)) as error:
            read(tmp_path)
    if error.type is DataError:
        assert "cannot be unpacked (No space left on device); name another folder with" in str(error.value)
    pictures = tmp_path / f"{CIFAR_10.folder}-pictures"
    assert len(saved) == 4
    assert list(pictures.iterdir()) == []
    (pictures / ".test.1.tmp/red").mkdir(parents=True)  # as a killed process leaves it
    assert len(read(tmp_path)) == 9
    assert [path.name for path in pictures.iterdir()] == ["test"]


def test_another_process_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path)
    before = read(tmp_path).fingerprint()
    folder = tmp_path / f"{CIFAR_10.folder}-pictures/test"
    away = folder.rename(tmp_path / "away")
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        shutil.copytree(away, folder)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert read(tmp_path).fingerprint() == before
    assert [path.name for path in folder.parent.iterdir()] == ["test"]


def test_a_folder_with_other_pictures_is_not_taken(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    lost = Path(read(tmp_path).paths[3])
    lost.unlink()
    with pytest.raises(DataError, match=r"1 picture of 9 not in it \(00004.png\).*remove this folder"):
        read(tmp_path)


def test_pictures_may_be_unpacked_elsewhere(tmp_path: Path) -> None:
    write_cifar(tmp_path / "data")
    (tmp_path / "fast").mkdir()
    records = read(tmp_path / "data", test={"images": tmp_path / "fast"})
    assert {Path(path).parent.parent for path in records.paths} == {tmp_path / "fast/test"}
    assert not (tmp_path / f"data/{CIFAR_10.folder}-pictures").exists()


class Runs:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["test_batch", "batches.meta"])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_cifar(tmp_path)
    dump(folder / name, {"data": Runs(tmp_path / "hacked")})
    with pytest.raises(DataError, match="not readable") as error:
        read(tmp_path)
    assert f"{os.mkdir.__module__}.mkdir is not allowed in it" in str(error.value)
    assert not (tmp_path / "hacked").exists()
    pickle.loads((folder / name).read_bytes())
    assert (tmp_path / "hacked").exists(), "the pickle does what it is said to do"


@pytest.mark.parametrize(
    "value",
    [
        builtins.eval, getattr, np.load, np.array([print], dtype=object), np.zeros(2, "i4,f8"), np.float64(1), Path(),
        np.array(["text"]), {1, 2}.__class__,
    ],
    ids=["eval", "getattr", "load", "objects", "records", "scalar", "path", "texts", "type"],
)  # fmt: skip
def test_nothing_but_plain_values_and_arrays_of_numbers_is_read(tmp_path: Path, value: Any) -> None:
    for protocol in (2, 5):
        dump(tmp_path / "file", {"data": value}, protocol)
        with pytest.raises(FileError, match="is not allowed"):
            read_pickle(tmp_path / "file")


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_out_as_they_went_in(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(12, dtype=">i4").reshape(3, 4), np.eye(3, 2, order="F"), np.array([True]), np.array(5)]
    dump(tmp_path / "file", {str(number): array for number, array in enumerate(arrays)}, protocol)
    found = read_pickle(tmp_path / "file")
    for number, array in enumerate(arrays):
        assert found[str(number)].dtype == array.dtype
        np.testing.assert_array_equal(found[str(number)], array)


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    """The start of the official file: text keys, an array whose bytes are a text, a type with a number as alignment."""
    (tmp_path / "file").write_bytes(
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x05(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x7f\x80\xfftbu."
    )
    assert read_pickle(tmp_path / "file")["data"].tolist() == [[0, 127], [128, 255]]


GOOD = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 8]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "data is missing; it must be uint8 in rows of 3072"),
        ({"data": [1]}, "data is list"),
        ({"data": np.zeros((2, 3071), np.uint8)}, "data is uint8 of shape 2 x 3071"),
        ({"data": np.zeros((2, 3, 32, 32), np.uint8)}, "data is uint8 of shape 2 x 3 x 32 x 32"),
        ({"data": np.zeros((2, 3072))}, "data is float64 of shape 2 x 3072"),
        ({"labels": [0, 9]}, "labels is no list of whole numbers from 0 to 8"),
        ({"labels": [0, -1]}, "labels is no list"),
        ({"labels": [0, True]}, "labels is no list"),
        ({"labels": None}, "labels is no list"),
        ({"labels": [0]}, "2 pictures, but 1 labels"),
    ],
)
def test_files_that_are_not_as_they_must_be(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_cifar(tmp_path)
    dump(folder / "test_batch", GOOD | changes)
    with pytest.raises(DataError, match=rf"test_batch: {message}"):
        read(tmp_path)
    assert not (tmp_path / f"{CIFAR_10.folder}-pictures").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no list label_names with the names"),
        ("cats", "no list label_names"),
        (["a", "../../b"], r"names of classes that are no names of folders: '../../b'"),
        (["a", ""], "no names of folders: ''"),
        (["a", ".."], r"no names of folders: '..'"),
        (["cat", "Cat"], "a class has the name of another"),
    ],
)
def test_names_of_classes_that_cannot_be_folders(tmp_path: Path, names: Any, message: str) -> None:
    folder = write_cifar(tmp_path)
    dump(folder / "batches.meta", {"label_names": names})
    with pytest.raises(DataError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\x80\x04", pickle.dumps([1]), b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff"]
)
def test_broken_files_are_named_by_the_check(tmp_path: Path, content: bytes) -> None:
    folder = write_cifar(tmp_path)
    (folder / "data_batch_3").write_bytes(content)
    (problem,) = check_data(config.Data(root=tmp_path)).findings.stopping
    assert (problem.kind, problem.file) == (Kind.BROKEN_BATCH, folder / "data_batch_3")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path)
    (folder / "data_batch_5").unlink()
    with pytest.raises(DataError, match=r"data_batch_5: does not exist; extract the archive again"):
        read(tmp_path, "train")


def test_a_good_set_has_no_problems(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    check = check_data(config.Data(root=tmp_path))
    assert check.findings.stopping == []
    assert {counts.split: counts.pictures for counts in check.splits} == {"train": 45, "test": 9}
    assert check.decoded == 54


def test_the_unpacked_pictures_are_an_image_folder(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    read(tmp_path)
    read(tmp_path, "train")
    again = read(tmp_path / f"{CIFAR_10.folder}-pictures", format="image_folder")
    assert (len(again), again.labels.names) == (9, NAMES)
