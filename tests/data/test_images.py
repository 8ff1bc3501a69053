from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data.images import ImageError, is_image_name, read_rgb


@pytest.fixture
def photo() -> Image.Image:
    noise_HWC = np.random.RandomState(0).randint(0, 256, (40, 60, 3), dtype=np.uint8)
    return Image.fromarray(noise_HWC)


def grey_png_16_bit(values: list[list[int]]) -> bytes:
    """Write a 16-bit grey PNG by the PNG specification, independent of Pillow."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    rows = b"".join(b"\0" + struct.pack(f">{len(r)}H", *r) for r in values)
    header = struct.pack(">IIBBBBB", len(values[0]), len(values), 16, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_rgb_comes_back_as_it_was(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")

    found = read_rgb(tmp_path / "a.png")

    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), np.asarray(photo))


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    # 0x8000 is half of the range: 128 of 255. Clipping would give 255 for all but the
    # first two.
    path = tmp_path / "deep.png"
    path.write_bytes(grey_png_16_bit([[0, 0x00FF, 0x0100, 0x8000, 0xFFFF]]))

    found = np.asarray(read_rgb(path))

    assert found[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 255)]


def test_16_bit_grey_tiff_of_either_byte_order(tmp_path: Path) -> None:
    for order in ("<", ">"):
        data = np.array([[0, 0x8000, 0xFFFF]], dtype=f"{order}u2")
        mode = "I;16" if order == "<" else "I;16B"
        Image.frombytes(mode, (3, 1), data.tobytes()).save(tmp_path / "deep.tif")
        found = np.asarray(read_rgb(tmp_path / "deep.tif"))
        assert found[0, :, 0].tolist() == [0, 128, 255]


def test_float_and_32_bit_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((2, 2), 1 << 20, np.int32)).save(tmp_path / "int.tif")

    for name in ("float.tif", "int.tif"):
        with pytest.raises(ImageError, match=rf"{name}: .* no agreed range") as caught:
            read_rgb(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "1", "CMYK", "YCbCr", "P"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = {"CMYK": "tif", "YCbCr": "jpg"}.get(mode, "png")
    # 204 is a level of the palette that Pillow quantises to.
    colour = Image.new("RGB", (8, 6), (204, 204, 204))
    colour.convert(mode, dither=Image.Dither.NONE).save(tmp_path / f"a.{suffix}")

    found = read_rgb(tmp_path / f"a.{suffix}")

    assert (found.mode, found.size) == ("RGB", (8, 6))
    expected = 255 if mode == "1" else 204
    assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1


def test_transparency_is_dropped_not_blended(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (10, 20, 30, 0)).save(tmp_path / "a.png")

    assert read_rgb(tmp_path / "a.png").getpixel((0, 0)) == (10, 20, 30)


def test_palette_with_transparent_entries_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))

    found = np.asarray(read_rgb(tmp_path / "a.png"))

    assert found.tolist() == [[[10, 20, 30], [40, 50, 60]]]


def test_exif_orientation_6_turns_the_picture(tmp_path: Path) -> None:
    # 6: the camera was turned; the picture has to be turned 90 degrees clockwise, so
    # the bottom left pixel of the file is the top left one that is seen.
    data = np.zeros((2, 3, 3), np.uint8)
    data[1, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data).save(tmp_path / "a.png", exif=exif)

    found = np.asarray(read_rgb(tmp_path / "a.png"))

    assert found.shape == (3, 2, 3)
    assert found[:, :, 0].tolist() == [[255, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("orientation", [0, 1, 9, 500])
def test_other_orientations_leave_the_picture(
    tmp_path: Path, photo: Image.Image, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "a.png", exif=exif)

    np.testing.assert_array_equal(
        np.asarray(read_rgb(tmp_path / "a.png")), np.asarray(photo)
    )


def test_damaged_metadata_is_not_a_damaged_picture(
    tmp_path: Path, photo: Image.Image
) -> None:
    photo.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")

    assert read_rgb(tmp_path / "a.jpg").size == photo.size


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 7).save(tmp_path / "a.png")

    assert read_rgb(tmp_path / "a.png").getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_file_is_named(
    tmp_path: Path, photo: Image.Image, kind: str, share: float
) -> None:
    stream = io.BytesIO()
    photo.save(stream, format=kind)
    content = stream.getvalue()
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ImageError, match=f"cannot read image .*cut.{kind.lower()}: "):
        read_rgb(path)


def test_text_in_an_image_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404 not found</html>")

    with pytest.raises(ImageError) as caught:
        read_rgb(tmp_path / "a.jpg")

    assert str(caught.value) == (
        f"cannot read image {tmp_path}/a.jpg: it is not an image that Pillow knows; "
        "repair or remove it, or pass --on-bad-image skip"
    )


def test_empty_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").mkdir()

    for name, reason in (
        ("a.jpg", "the file is empty"),
        ("b.jpg", "Is a directory"),
        ("c.jpg", "the file does not exist"),
    ):
        with pytest.raises(ImageError) as caught:
            read_rgb(tmp_path / name)
        assert caught.value.reason == reason


@pytest.mark.parametrize("pixels", [1500, 2500])
def test_decompression_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    # Pillow warns from the limit on and raises from twice the limit on.
    Image.new("L", (pixels, 1)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    with pytest.raises(ImageError, match=r"more than 1000 pixels, Pillow's limit"):
        read_rgb(tmp_path / "a.png")


def test_an_image_error_survives_the_way_from_a_worker() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a.jpg", "it is torn")))

    assert (error.path, error.reason) == ("a.jpg", "it is torn")
    assert str(error).startswith("cannot read image a.jpg: it is torn; repair")


def test_image_names() -> None:
    good = "a.jpg A.JPEG b.PnG c.bmp d.gif e.webp f.ppm g.tif h.TIFF n01_1.JPEG"
    bad = ".a.jpg ._a.jpg a.txt jpg a.jpg.txt Thumbs.db"

    assert all(is_image_name(name) for name in good.split())
    assert not any(is_image_name(name) for name in bad.split())
