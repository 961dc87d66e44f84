import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brinell.data import load
from brinell.errors import CannotRun, Refused, UsageError

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def png(pixels: np.ndarray) -> bytes:
    """A PNG written from its specification, not by Pillow."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """dog is written before cat; both hold greyscale images."""
    for name, images in {"dog": [GREY[::-1]], "cat": [GREY, GREY // 2]}.items():
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i, image in enumerate(images):
            (tmp_path / "pets" / name / f"{i}.png").write_bytes(png(image))
    return tmp_path / "pets"


def test_greyscale_stays_one_channel(root: Path) -> None:
    data = load(root)
    assert data.classes == ("cat", "dog")
    assert data.y.tolist() == [0, 0, 1]
    assert data.x.shape == (3, 1, 4, 5)
    assert np.allclose(data.x[:, 0].numpy() * 255, np.stack([GREY, GREY // 2, GREY[::-1]]), atol=1e-4)
    assert data.scaling == "uint8 / 255"
    assert data.source == str(root)


def test_one_colour_image_makes_all_colour(root: Path) -> None:
    (root / "dog" / "1.PNG").write_bytes(png(COLOUR))
    data = load(root)
    assert data.x.shape == (4, 3, 4, 5)
    assert np.allclose(data.x[3].numpy() * 255, COLOUR.transpose(2, 0, 1), atol=1e-4)
    assert data.x[0, 0].equal(data.x[0, 2])


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.bmp", "a.webp"])
def test_other_formats_are_read(root: Path, name: str) -> None:
    Image.fromarray(np.full((4, 5, 3), 120, np.uint8)).save(root / "dog" / name)
    assert (load(root).x[-1] * 255 - 120).abs().max() <= 3


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA"])
def test_other_modes_become_grey_or_colour(root: Path, mode: str) -> None:
    Image.fromarray(COLOUR).convert(mode).save(root / "dog" / "a.png")
    assert load(root).x.shape[1] == (1 if mode in ("1", "LA") else 3)


def test_hidden_files_and_notes_are_passed_over(root: Path) -> None:
    (root / "dog" / "Thumbs.db").write_bytes(b"?")
    (root / "dog" / "._0.png").write_bytes(b"?")
    (root / ".cache").mkdir()
    (root / "README.txt").write_text("pets")
    assert len(load(root)) == 3


def test_two_sizes_are_named_with_their_files(root: Path) -> None:
    (root / "dog" / "1.png").write_bytes(png(GREY[:3]))
    with pytest.raises(UsageError, match=r"cat/0\.png is 5x4 and .*dog/1\.png is 5x3 pixels; bring all"):
        load(root)


@pytest.mark.parametrize("content", [b"", b"not an image", png(GREY)[:50], png(GREY)[:-40] + b"\0" * 40], ids=range(4))
def test_an_unreadable_image_is_named(root: Path, content: bytes) -> None:
    (root / "dog" / "1.png").write_bytes(content)
    with pytest.raises(CannotRun, match=r"dog/1\.png cannot be read as an image.*damaged") as error:
        load(root)
    assert "\n" not in str(error.value)


def test_a_format_that_starts_programs_is_not_tried(root: Path) -> None:
    (root / "dog" / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n%%EndComments\n")
    with pytest.raises(CannotRun, match="cannot identify image file"):
        load(root)


@pytest.mark.parametrize("limit", [6, 15])
def test_pillows_limit_on_pixels_is_kept(root: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # 20 pixels: above twice 6 an error, above 15 a warning
    with pytest.raises(CannotRun, match=r"cat/0\.png cannot be read.*exceeds limit"):
        load(root)


def test_sixteen_bits_are_refused(root: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 200).save(root / "dog" / "1.png")
    with pytest.raises(CannotRun, match=r"dog/1\.png has pixels of mode I;16; convert it to 8 bits"):
        load(root)


def test_links_out_of_the_folder_are_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "0.png").write_bytes(png(GREY))
    (root / "dog" / "9.png").symlink_to(secret / "0.png")
    with pytest.raises(Refused, match=r"dog/9\.png is a link out of .*pets, to .*secret/0\.png; copy"):
        load(root)
    (root / "dog" / "9.png").unlink()
    (root / "fox").symlink_to(secret)
    with pytest.raises(Refused, match="fox is a link out of"):
        load(root)


def test_links_within_the_folder_are_followed(root: Path) -> None:
    (root / "dog" / "9.png").symlink_to(root / "cat" / "0.png")
    data = load(root)
    assert data.x[3].equal(data.x[0])


def test_a_link_to_nowhere_is_an_unreadable_image(root: Path) -> None:
    (root / "dog" / "9.png").symlink_to(root / "gone.png")
    with pytest.raises(CannotRun, match=r"dog/9\.png cannot be read"):
        load(root)


def test_a_class_without_images_is_refused(root: Path) -> None:
    (root / "fox").mkdir()
    with pytest.raises(UsageError, match=r"fox holds no images \(\.png"):
        load(root)


def test_a_folder_too_high_up_is_told(root: Path) -> None:
    with pytest.raises(UsageError, match=r"pets/cat is a folder, and images are expected right in .*pets"):
        load(root.parent)
