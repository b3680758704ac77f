"""read_image: what becomes of each kind of file, pixel by pixel."""

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune.data.images import image_size_hw, read_image
from dinotune.errors import DataError


def pixels(path: Path, **options: Any) -> np.ndarray[Any, Any]:
    image = read_image(path, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def rgba(*colours: tuple[int, int, int, int]) -> Image.Image:
    return Image.fromarray(np.array([colours], np.uint8))


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 100])
    image.putpixel((1, 0), 1)
    return image


def frames(tmp_path: Path) -> Path:
    first, second = (Image.new("RGB", (2, 1), colour) for colour in ((255, 0, 0), (0, 255, 0)))
    return saved(tmp_path, first, "x.gif", save_all=True, append_images=[second])


def grey(values: list[float], dtype: str) -> Image.Image:
    return Image.fromarray(np.array([values], dtype))


KINDS: dict[str, tuple[Any, list[tuple[int, int, int]]]] = {
    "16-bit grey, full range": (
        lambda p: saved(p, grey([0, 257, 32896, 65535], "uint16"), "x.png"),
        [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)],
    ),
    "12-bit grey in 16 bits": (
        lambda p: saved(p, grey([0, 2048, 4095], "uint16"), "x.tif"),
        [(0, 0, 0), (128, 128, 128), (255, 255, 255)],
    ),
    "8-bit grey in 16 bits": (lambda p: saved(p, grey([7, 200], "uint16"), "x.png"), [(7, 7, 7), (200, 200, 200)]),
    "32-bit grey": (
        lambda p: saved(p, grey([0, 65535], "int32"), "x.tif"),
        [(0, 0, 0), (255, 255, 255)],
    ),
    "32-bit grey beyond 16 bits": (
        lambda p: saved(p, grey([-100_000, 0, 100_000], "int32"), "x.tif"),
        [(0, 0, 0), (128, 128, 128), (255, 255, 255)],
    ),
    "float in [0, 1]": (
        lambda p: saved(p, grey([0.0, 0.2, 1.0], "float32"), "x.tif"),
        [(0, 0, 0), (51, 51, 51), (255, 255, 255)],
    ),
    "float in [0, 255]": (lambda p: saved(p, grey([0.0, 51.4], "float32"), "x.tif"), [(0, 0, 0), (51, 51, 51)]),
    "8-bit grey": (lambda p: saved(p, grey([3, 250], "uint8"), "x.png"), [(3, 3, 3), (250, 250, 250)]),
    "black and white": (
        lambda p: saved(p, Image.fromarray(np.array([[False, True]])), "x.png"),
        [(0, 0, 0), (255, 255, 255)],
    ),
    "alpha on white": (
        lambda p: saved(p, rgba((200, 100, 0, 255), (200, 100, 0, 0), (0, 0, 0, 51)), "x.png"),
        [(200, 100, 0), (255, 255, 255), (204, 204, 204)],
    ),
    "grey with alpha": (
        lambda p: saved(p, rgba((9, 9, 9, 255), (9, 9, 9, 0)).convert("LA"), "x.png"),
        [(9, 9, 9), (255, 255, 255)],
    ),
    "palette": (lambda p: saved(p, palette(), "x.png"), [(200, 0, 0), (0, 0, 100)]),
    "palette with a transparent entry": (
        lambda p: saved(p, palette(), "x.png", transparency=1),
        [(200, 0, 0), (255, 255, 255)],
    ),
    "colour key": (
        lambda p: saved(p, Image.new("RGB", (1, 1), (1, 2, 3)), "x.png", transparency=(1, 2, 3)),
        [(255, 255, 255)],
    ),
    "first frame of a GIF": (frames, [(255, 0, 0)] * 2),
    "CMYK, plain": (
        lambda p: saved(p, Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "x.tif"),
        [(255, 0, 0)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pixels(tmp_path: Path, kind: str) -> None:
    write, expected = KINDS[kind]
    assert pixels(write(tmp_path))[0].tolist() == [list(colour) for colour in expected]


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_jpegs_are_inverted_as_adobe_writes_them(tmp_path: Path, marked: bool) -> None:
    path = saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "x.jpg", quality=100)
    content = path.read_bytes()
    start = content.index(b"\xff\xee")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    assert content[start + 4 : start + 9] == b"Adobe"
    if not marked:
        path.write_bytes(content[:start] + content[start + 2 + length :])
    np.testing.assert_allclose(pixels(path)[8, 8], (255, 0, 0), atol=3)


CORNERS = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(255, 255, 0), (0, 255, 255), (255, 0, 255)]], np.uint8)
"""A picture of 2 x 3 in which every pixel differs."""

UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
"""What each EXIF orientation asks for (Exif 2.3, 4.6.4 A)."""


def turned_file(tmp_path: Path, orientation: int, name: str = "x.png") -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(tmp_path, Image.fromarray(CORNERS), name, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_exif_rotation_is_applied_where_it_fits(tmp_path: Path, orientation: int, annotated: bool, name: str) -> None:
    path = turned_file(tmp_path, orientation, name)
    expected = UPRIGHT[orientation](CORNERS)
    height, width = expected.shape[:2]
    assert image_size_hw(path) == (height, width)
    found = pixels(path, annotated_hw=(height, width) if annotated else None)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", [None, 6])
def test_the_size_is_read_without_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int | None
) -> None:
    plain = saved(tmp_path, Image.fromarray(CORNERS), "plain.png")
    path = plain if orientation is None else turned_file(tmp_path, orientation)

    def refuse(_: Image.Image) -> None:
        raise AssertionError("the picture was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", refuse)
    assert image_size_hw(path) == ((2, 3) if orientation is None else (3, 2))


def test_exif_rotation_is_left_out_where_the_annotated_size_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = turned_file(tmp_path, 6)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(pixels(path, annotated_hw=(2, 3)), CORNERS)
        pixels(path, annotated_hw=(2, 3))
    assert [record.getMessage().startswith(f"{path}: EXIF orientation 6 left out") for record in caplog.records] == [
        True
    ]


@pytest.mark.parametrize("orientation", [1, 6])
def test_other_sizes_than_annotated_are_refused(tmp_path: Path, orientation: int) -> None:
    path = turned_file(tmp_path, orientation)
    with pytest.raises(DataError, match=r"x.png: 2 x 3 pixels, but annotated as 4 x 6 \(height x width\)"):
        read_image(path, (4, 6))


@pytest.mark.parametrize(
    ("hw", "least", "expected"),
    [
        ((160, 240), None, (160, 240)),
        ((160, 240), (20, 30), (20, 30)),
        ((160, 240), (21, 30), (40, 60)),
        ((160, 240), (80, 10), (80, 120)),
        ((160, 240), (81, 10), (160, 240)),
        ((161, 240), (20, 30), (161, 240)),
        ((164, 240), (20, 30), (41, 60)),
    ],
)
def test_large_jpegs_are_decoded_no_larger_than_needed(
    tmp_path: Path, hw: tuple[int, int], least: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    path = saved(tmp_path, Image.new("RGB", hw[::-1], (9, 90, 190)), "x.jpg")
    found = pixels(path, annotated_hw=hw, at_least_hw=least)
    assert found.shape[:2] == expected
    np.testing.assert_allclose(found[0, 0], (9, 90, 190), atol=3)


def test_a_turned_jpeg_is_measured_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.new("RGB", (240, 160)), "x.jpg", exif=exif)
    assert pixels(path, annotated_hw=(240, 160), at_least_hw=(120, 10)).shape[:2] == (120, 80)


def broken(tmp_path: Path, kind: str) -> Path:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path = tmp_path / f"{kind}.jpg"
    if kind == "truncated":
        content = saved(tmp_path, noise, "whole.jpg").read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "bomb":
        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    elif kind == "not_finite":
        return saved(tmp_path, grey([0.0, np.nan], "float32"), "not_finite.tif")
    return path


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "bomb", "not_finite", "absent"])
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(DataError, match=kind):
        read_image(path)


@pytest.mark.parametrize("kind", ["empty", "text", "bomb", "absent"])
def test_size_of_broken_files(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=kind):
        image_size_hw(broken(tmp_path, kind))
