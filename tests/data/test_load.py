import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from brinell.data import Dataset, load
from brinell.errors import CannotRun, Refused, UsageError

SHARED = Path(os.environ.get("BRINELL_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"


def test_a_data_set_is_handed_back() -> None:
    data = load("digits")
    assert load(data) is data


def test_a_pair_is_taken_as_it_is() -> None:
    data = load((np.zeros((2, 5, 5, 3), np.float32), [0, 1]))
    assert data.x.shape == (2, 5, 5, 3)
    with pytest.raises(UsageError, match="tuple of 3; give a pair"):
        load((np.zeros((1, 1)), [0], [0]))


def test_a_path_may_be_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "A.NPZ", x=np.zeros((1, 2)), y=[0])
    os.replace(tmp_path / "A.NPZ.npz", tmp_path / "A.NPZ")
    assert load(str(tmp_path / "A.NPZ")).digest == load(tmp_path / "A.NPZ").digest


def test_a_file_called_digits_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="digits holds nothing; expected"):
        load("./digits")


def test_a_label_is_for_tables_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 2)), y=[0])
    for source in ("digits", tmp_path / "a.npz", tmp_path):
        with pytest.raises(UsageError, match="label is 'y', but the source is not a table"):
            load(source, label="y")


@pytest.mark.parametrize("name", ["gone.npz", "gone.csv", "gone.parquet", "gone", "diggits"])
def test_a_path_that_does_not_exist_is_told_what_could(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} does not exist; give the path of \.npz, \.csv"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (
            "a.toml",
            UsageError,
            r"extension '\.toml'; understood are \.npz, \.csv, \.csv\.gz, \.parquet, .*digits",
        ),
        ("data", UsageError, "extension 'none'"),
        ("a.npy", UsageError, "single array, without labels; .*np.savez"),
        ("a.pkl", Refused, "pickled objects.*np.savez"),
        ("a.PT", Refused, "pickled objects.*np.savez"),
    ],
)
def test_an_unknown_file_is_told_what_is_understood(
    tmp_path: Path, name: str, error: type[Exception], words: str
) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(error, match=words):
        load(tmp_path / name)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(CannotRun, match="data is empty"):
        load(tmp_path / "data")


def test_a_folder_of_something_else_is_told_what_is_expected(tmp_path: Path) -> None:
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").touch()
    with pytest.raises(UsageError, match=r"holds a\.txt, .*, e\.txt, …; expected one folder of images a class"):
        load(tmp_path)


def test_a_device_is_no_data(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        load(tmp_path / "pipe.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "images.bin", "unknown"])
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> None:
        raise PermissionError  # what chmod 0 does to anyone but the superuser, who often runs the tests

    (tmp_path / name).write_bytes(b"PK")
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(CannotRun, match=rf"{name} may not be read: permission denied"):
        load(tmp_path / name)


@pytest.mark.slow
def test_optional_packages_are_imported_when_used() -> None:
    code = "import sys, brinell.data; print([m for m in ('pyarrow', 'PIL', 'sklearn') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")
class TestShared:
    @pytest.mark.parametrize("name", ["mnist_test", "fashion_mnist_test"])
    def test_the_mnist_family_is_read(self, name: str) -> None:
        data = load(SHARED / "images" / f"{name}.npz")
        assert data.x.shape == (10000, 1, 28, 28)
        assert (float(data.x.min()), float(data.x.max())) == (0.0, 1.0)
        assert data.y.unique().tolist() == list(range(10))
        assert data.take(100, 0, balanced=True).y.bincount().tolist() == [10] * 10

    def test_spambase_is_read(self) -> None:
        data = load(SHARED / "tabular" / "spambase.csv.gz", label="Decision")
        assert isinstance(data, Dataset)
        assert data.x.shape == (4601, 57)
        assert data.y.bincount().tolist() == [2788, 1813]
        assert data.features is not None
        assert data.features[0] == "word_freq_make"
