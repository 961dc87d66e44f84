import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.data import Dataset, load
from brinell.errors import CannotRun, Refused, UsageError

from .fuzz import complaint

X = np.arange(24, dtype=np.float32).reshape(4, 6) / 24
Y = np.array([0, 1, 1, 0])
REMEDY = "np.savez"


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT)


def npy(descr: str, shape: str, body: bytes) -> bytes:
    """An .npy member written from the format's description, not by NumPy."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, body in members.items():
            file.writestr(name, body)
    return path


@pytest.mark.parametrize(
    "names",
    [("x", "y"), ("images", "labels"), ("X", "y"), ("data", "target"), ("x_test", "y_test")],
    ids="/".join,
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_known_pairs_are_read(tmp_path: Path, names: tuple[str, str], save: object) -> None:
    path = tmp_path / "a.npz"
    save(path, **{names[0]: X, names[1]: Y, "other": np.array(["not", "read"])})  # type: ignore[operator]
    data = load(path)
    assert data.digest == Dataset.of(X, Y).digest
    assert data.source == str(path)


def test_a_file_written_without_numpy_is_read(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.npz",
        {
            "x.npy": npy("'>f8'", "(2, 2)", struct.pack(">4d", 1, 2, 3, 4)),
            "y.npy": npy("'|u1'", "(2,)", b"\x01\x00"),
        },
    )
    data = load(path)
    assert data.x.tolist() == [[1, 2], [3, 4]]
    assert data.y.tolist() == [1, 0]


def test_fortran_order_is_undone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(X), y=Y)
    assert load(tmp_path / "a.npz").digest == Dataset.of(X, Y).digest


def test_images_become_channels_first_and_unit_range(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=Y)
    np.savez(tmp_path / "b.npz", images=pixels[..., 0], labels=Y)
    colour, grey = load(tmp_path / "a.npz"), load(tmp_path / "b.npz")
    assert colour.x.shape == (4, 3, 5, 6)
    assert grey.x.shape == (4, 1, 5, 6)
    assert colour.x[:, 0].equal(grey.x[:, 0])
    assert colour.scaling == "uint8 / 255"
    assert np.allclose(colour.x.numpy(), pixels.transpose(0, 3, 1, 2) / 255, atol=1e-7)


def test_other_names_are_listed_with_those_expected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=X, y=Y)
    with pytest.raises(UsageError, match=r"a\.npz holds pictures, y; expected .*x/y, images/labels.*np\.savez"):
        load(tmp_path / "a.npz")


def test_errors_in_the_arrays_name_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.where(X > 0.5, np.nan, X), y=Y)
    with pytest.raises(UsageError, match=r"a\.npz: x holds 11 values that are NaN.*row 2"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.array(["a", "b"]), y=Y)
    with pytest.raises(UsageError, match=r"b\.npz: x\.npy holds <U1 values"):
        load(tmp_path / "b.npz")


class TestPickles:
    @pytest.fixture
    def canary(self, tmp_path: Path) -> Path:
        return tmp_path / "canary"

    def test_the_canary_sings_when_a_pickle_is_loaded(self, canary: Path) -> None:
        pickle.loads(pickle.dumps(Canary(canary)))
        assert canary.exists()

    def test_an_object_array_is_refused_unopened(self, tmp_path: Path, canary: Path) -> None:
        for name in ("x", "y"):
            arrays = {"x": X, "y": Y, name: np.array([Canary(canary)] * 4, dtype=object)}
            np.savez(tmp_path / "a.npz", **arrays)
            with pytest.raises(Refused, match=rf"{name}\.npy holds pickled objects.*{REMEDY}"):
                load(tmp_path / "a.npz")
        assert not canary.exists()

    def test_a_field_of_objects_is_refused_too(self, tmp_path: Path, canary: Path) -> None:
        fields = np.array([(1.0, Canary(canary))] * 4, dtype=[("a", "f4"), ("b", "O")])
        np.savez(tmp_path / "a.npz", x=fields, y=Y)
        with pytest.raises(Refused, match="pickled objects"):
            load(tmp_path / "a.npz")
        assert not canary.exists()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_pickle_in_disguise_is_never_run(self, tmp_path: Path, canary: Path, protocol: int) -> None:
        path = tmp_path / "a.npz"
        path.write_bytes(pickle.dumps(Canary(canary), protocol))
        with pytest.raises(CannotRun, match=REMEDY) as error:
            load(path)
        assert isinstance(error.value, Refused) == (protocol >= 2)
        assert not canary.exists()

    def test_members_that_are_pickles_are_never_run(self, tmp_path: Path, canary: Path) -> None:
        body = pickle.dumps(Canary(canary))
        with pytest.raises(CannotRun, match=r"a\.npz cannot be read"):
            load(archive(tmp_path / "a.npz", {"x.npy": body, "y.npy": body}))
        with pytest.raises(Refused, match=r"pickled objects \(archive/data.pkl\)"):
            load(archive(tmp_path / "b.npz", {"archive/data.pkl": body}))
        hidden = npy("'|O'", "(1,)", body)
        with pytest.raises(Refused, match="pickled objects"):
            load(archive(tmp_path / "c.npz", {"x.npy": hidden, "y.npy": hidden}))
        assert not canary.exists()


class TestDamage:
    def test_other_formats_are_told_apart(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        with path.open("wb") as file:
            np.save(file, X)
        with pytest.raises(UsageError, match=r"single \.npy array.*np\.savez"):
            load(path)
        path.write_bytes(b"hello, world")
        with pytest.raises(CannotRun, match=r"not an \.npz archive: it begins with b'hello"):
            load(path)
        path.write_bytes(b"")
        with pytest.raises(CannotRun, match=r"not an \.npz archive"):
            load(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_truncated_archive_is_one_sentence(self, tmp_path: Path, share: float) -> None:
        path = tmp_path / "a.npz"
        np.savez_compressed(path, x=X, y=Y)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CannotRun, match=r"a\.npz cannot be read as \.npz.*damaged or cut short") as error:
            load(path)
        assert "\n" not in str(error.value)

    def test_a_flipped_bit_is_caught_by_the_checksum(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npz"
        np.savez(path, x=X, y=Y)
        whole = bytearray(path.read_bytes())
        whole[whole.index(X.tobytes()) + 7] ^= 1
        path.write_bytes(whole)
        with pytest.raises(CannotRun, match="CRC"):
            load(path)

    @pytest.mark.parametrize("shape", ["(1000000000000, 6)", "(-4, -6)", "(3, 6)", "(5, 6)"])
    def test_a_lying_header_is_not_believed(self, tmp_path: Path, shape: str) -> None:
        members = {"x.npy": npy("'<f4'", shape, X.tobytes()), "y.npy": npy("'<i8'", "(4,)", Y.tobytes())}
        with pytest.raises(CannotRun, match=r"claims shape|cannot be read"):
            load(archive(tmp_path / "a.npz", members))

    def test_a_claim_beyond_what_deflate_can_hold_is_refused(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "a.npz", {"x.npy": b"1234", "y.npy": b"1234"})
        honest, lying = struct.pack("<II", 4, 4), struct.pack("<II", 4, 2**31)
        path.write_bytes(path.read_bytes().replace(honest, lying))
        with pytest.raises(CannotRun, match=r"claims 2147483648 bytes, more than 4 packed"):
            load(path)

    def test_other_compressions_are_refused(self, tmp_path: Path) -> None:
        members = {"x.npy": npy("'<f4'", "(4, 6)", X.tobytes()), "y.npy": b""}
        with pytest.raises(CannotRun, match=r"compressed in a way np.savez never does"):
            load(archive(tmp_path / "a.npz", members, zipfile.ZIP_BZIP2))

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.data())
    def test_mutated_bytes_raise_nothing_foreign(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
        buffer = io.BytesIO()
        save(buffer, x=X, y=Y)
        raw = bytearray(buffer.getvalue())
        for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=4)):
            raw[at] = value
        cut = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
        path = tmp_path_factory.getbasetemp() / "mutant.npz"
        path.write_bytes(raw[:cut])
        assert "mutant.npz" in complaint(path)
        assert "\n" not in complaint(path)

    @settings(derandomize=True, deadline=None, max_examples=120)
    @given(
        descr=st.text(max_size=20) | st.sampled_from(["'<f4'", "'|O'", "'V0'", "[('a','<f4')]", "('<f4',(9,))"]),
        shape=st.text(max_size=20) | st.sampled_from(["(4, 6)", "(", "()", "(2**9,)", "(99999999999999999999,)"]),
    )
    def test_any_header_raises_nothing_foreign(
        self, tmp_path_factory: pytest.TempPathFactory, descr: str, shape: str
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "header.npz"
        y = npy("'<i8'", "(4,)", Y.tobytes())
        archive(path, {"x.npy": npy(descr, shape, X.tobytes()), "y.npy": y})
        assert "header.npz" in complaint(path)
