import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from brinell.data import load
from brinell.data.idx import read_array
from brinell.errors import CannotRun, UsageError

from .fuzz import complaint

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
X = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
Y = np.array([3, 0, 1, 2, 9], np.uint8)


def idx(array: np.ndarray, code: int = 8, shape: tuple[int, ...] | None = None) -> bytes:
    """The format as its page describes it."""
    shape = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + array.tobytes()


def pack(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def pair(folder: Path, images: bytes = idx(X), labels: bytes = idx(Y), prefix: str = "t10k") -> Path:
    (folder / IMAGES.replace("t10k", prefix)).write_bytes(images)
    (folder / LABELS.replace("t10k", prefix)).write_bytes(labels)
    return folder / IMAGES.replace("t10k", prefix)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, max_side=5)), packed=st.booleans())
def test_what_is_written_is_read(scratch: Path, array: np.ndarray, packed: bool) -> None:
    path = scratch / "a-images-idx"
    path.write_bytes(pack(idx(array)) if packed else idx(array))
    read = read_array(path, axes=(1, 2, 3, 4))
    assert read.shape == array.shape
    assert (read == array).all()


class TestPairs:
    def test_images_find_their_labels(self, tmp_path: Path) -> None:
        data = load(pair(tmp_path))
        assert data.x.shape == (5, 1, 4, 3)
        assert np.allclose(data.x[:, 0].numpy(), X / 255, atol=1e-7)
        assert data.y.tolist() == Y.tolist()
        assert data.scaling == "uint8 / 255"

    def test_packed_or_not_makes_no_difference(self, tmp_path: Path) -> None:
        plain = load(pair(tmp_path))
        packed = tmp_path / f"{IMAGES}.gz"
        packed.write_bytes(pack(idx(X)))
        mixed = load(packed)  # only its labels are plain
        (tmp_path / LABELS).unlink()
        (tmp_path / f"{LABELS}.gz").write_bytes(pack(idx(Y)))
        assert plain.digest == mixed.digest == load(packed).digest == load(tmp_path).digest

    def test_content_tells_where_the_name_does_not(self, tmp_path: Path) -> None:
        (tmp_path / "images.bin").write_bytes(idx(X))
        (tmp_path / "labels.bin").write_bytes(idx(Y))
        assert len(load(tmp_path / "images.bin")) == 5

    def test_missing_labels_are_named(self, tmp_path: Path) -> None:
        path = pair(tmp_path)
        (tmp_path / LABELS).unlink()
        with pytest.raises(UsageError, match=f"{IMAGES} has no labels beside it; expected {LABELS}"):
            load(path)

    def test_labels_in_place_of_images_are_told(self, tmp_path: Path) -> None:
        pair(tmp_path)
        with pytest.raises(UsageError, match=f"{LABELS} is idx, but its name lacks 'images'"):
            load(tmp_path / LABELS)

    def test_a_pair_of_unequal_lengths_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=f"{IMAGES}: x has 5 examples and y has shape .4,."):
            load(pair(tmp_path, labels=idx(Y[:4])))


class TestFolders:
    def test_of_two_pairs_the_held_out_one_is_read(self, tmp_path: Path) -> None:
        pair(tmp_path, idx(X[:2]), idx(Y[:2]), prefix="train")
        pair(tmp_path)
        assert len(load(tmp_path)) == 5

    def test_a_lone_pair_is_read_whatever_it_is(self, tmp_path: Path) -> None:
        pair(tmp_path, idx(X[:2]), idx(Y[:2]), prefix="train")
        assert len(load(tmp_path)) == 2

    def test_a_choice_is_left_to_the_user(self, tmp_path: Path) -> None:
        pair(tmp_path, prefix="a")
        pair(tmp_path, prefix="b")
        with pytest.raises(UsageError, match=r"holds the pairs a-images.*, b-images.*give the path of one"):
            load(tmp_path)


class TestDamage:
    @pytest.mark.parametrize(
        ("images", "words"),
        [
            (b"", "not an idx file"),
            (b"\0\0", "not an idx file"),
            (b"\1\0\x08\x03", "not with two zero bytes"),
            (idx(X, code=0x0D), "type 0x0d; only 0x08"),
            (idx(X[0]), "2 axes; expected 3 or 4"),
            (idx(Y), "1 axes; expected 3 or 4"),
            (idx(X)[:9], "cannot be read as idx"),
            (idx(X)[:-1], r"claims 60 values, shape \(5, 4, 3\), but holds"),
            (idx(X) + b"\0", "but holds more"),
            (idx(X, shape=(2**32 - 1,) * 3), "but holds far fewer"),
            (pack(idx(X, shape=(2**32 - 1,) * 3)), "but holds far fewer"),
            (pack(idx(X)[:-1]), "but holds only 59"),
            (pack(idx(X))[:-9], "cannot be read as idx.*damaged or cut short"),
            (pack(idx(X))[:10] + b"\xff" * 40, "cannot be read as idx"),
        ],
        ids=range(14),
    )
    def test_a_header_and_its_file_must_agree(self, tmp_path: Path, images: bytes, words: str) -> None:
        with pytest.raises(CannotRun, match=words) as error:
            load(pair(tmp_path, images))
        assert IMAGES in str(error.value)
        assert "\n" not in str(error.value)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(
        raw=st.binary(max_size=64).map(lambda tail: b"\0\0\x08" + tail) | st.binary(max_size=64),
        packed=st.booleans(),
    )
    def test_any_bytes_raise_nothing_foreign(self, scratch: Path, raw: bytes, packed: bool) -> None:
        images = pair(scratch, pack(raw) if packed else raw, raw)
        assert "t10k-" in complaint(images)

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(data=st.data(), packed=st.booleans())
    def test_mutated_bytes_raise_nothing_foreign(self, scratch: Path, data: st.DataObject, packed: bool) -> None:
        raw = bytearray(pack(idx(X)) if packed else idx(X))
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        images = pair(scratch, bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        assert IMAGES in complaint(images)
