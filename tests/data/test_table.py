import gzip
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from brinell.data import Dataset, load
from brinell.errors import BrinellError, CannotRun, MissingExtra, UsageError

from .fuzz import complaint

Write = Callable[[dict[str, list[object]]], Path]


@pytest.fixture(params=["csv", "csv.gz", "parquet"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Writes columns as a table in each format, by pyarrow, of which the CSV reader knows nothing."""

    def writer(columns: dict[str, list[object]]) -> Path:
        path = tmp_path / f"t.{request.param}"
        table = pa.table(columns)
        if request.param == "parquet":
            parquet.write_table(table, path)
        else:
            with pa.output_stream(path, compression="gzip" if request.param == "csv.gz" else None) as file:
                arrow_csv.write_csv(table, file)
        return path

    return writer


def text(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(content)
    return path


class TestBoth:
    def test_features_and_labels_are_told_apart(self, write: Write) -> None:
        data = load(write({"a": [0.1, 2.5], "label": [1, 0], "b": [-1, 3]}))
        assert data.x.tolist() == [[0.1, -1.0], [2.5, 3.0]]
        assert data.x.dtype == torch.float64
        assert data.y.tolist() == [1, 0]
        assert data.features == ("a", "b")
        assert data.classes is None
        assert data.scaling is None

    @pytest.mark.parametrize("name", ["label", "target", "class", "y"])
    def test_usual_names_of_the_label_are_known(self, write: Write, name: str) -> None:
        assert load(write({"a": [1, 2], name: [0, 1]})).features == ("a",)

    def test_the_label_can_be_named(self, write: Write) -> None:
        data = load(write({"Decision": [1, 0], "y": [0.5, 0.25]}), label="Decision")
        assert data.y.tolist() == [1, 0]
        assert data.features == ("y",)

    def test_without_a_label_the_columns_are_listed(self, write: Write) -> None:
        path = write({"a": [1], "b": [2]})
        with pytest.raises(UsageError, match=r"no column called label, target, class, y; it has 'a', 'b'"):
            load(path)
        with pytest.raises(UsageError, match=r"label is 'c'; .* has the columns 'a', 'b'"):
            load(path, label="c")

    @pytest.mark.parametrize(
        ("labels", "y", "classes"),
        [
            ([0, 1, 2, 1], [0, 1, 2, 1], None),
            ([0, 3, 3, 1], [0, 3, 3, 1], None),
            ([0.0, 1.0, 1.0, 0.0], [0, 1, 1, 0], None),
            ([1, 10, 2, 2], [0, 2, 1, 1], ("1", "2", "10")),
            ([-1, 1, 1, -1], [0, 1, 1, 0], ("-1", "1")),
            (["dog", "cat", "dog", "eel"], [1, 0, 1, 2], ("cat", "dog", "eel")),
            (["0", "1", "1", "0"], [0, 1, 1, 0], None),
            (["1st", "2nd", "1st", "1st"], [0, 1, 0, 0], ("1st", "2nd")),
        ],
    )
    def test_labels_become_class_indices(
        self, write: Write, labels: list[object], y: list[int], classes: tuple[str, ...] | None
    ) -> None:
        data = load(write({"a": [1, 2, 3, 4], "y": labels}))
        assert data.y.tolist() == y
        assert data.classes == classes

    def test_truth_values_are_classes(self, write: Write) -> None:
        data = load(write({"a": [1, 2], "y": [True, False]}))
        assert data.y.tolist() == [1, 0]
        assert data.classes in {("False", "True"), ("false", "true")}

    def test_a_measurement_is_no_label(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"label column 'y' holds 0.5 in row 1; a class is"):
            load(write({"a": [1, 2], "y": [1.0, 0.5]}))

    def test_a_missing_label_is_named_by_row(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"label column 'y' is empty in row 1"):
            load(write({"a": [1, 2], "y": ["dog", None]}))

    def test_words_among_the_features_are_refused(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"column 'job' holds 'clerk' in row 0.*not a number; encode"):
            load(write({"a": [1, 2], "job": ["clerk", "smith"], "y": [0, 1]}))

    def test_a_missing_value_is_named_by_column_and_row(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"column 'b' is empty in row 2.*fill it in"):
            load(write({"a": [1, 2, 3], "b": [1.0, 2.0, None], "y": [0, 1, 0]}))

    def test_nan_is_named_by_column_and_row(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"1 values that are NaN.*row 1, column 'b'"):
            load(write({"a": [1, 2], "b": [1.0, float("nan")], "y": [0, 1]}))

    def test_headers_must_name_columns_once(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"column named ''.*index=False"):
            load(write({"": [0, 1], "a": [1, 2], "y": [0, 1]}))
        with pytest.raises(UsageError, match=r"2 columns named 'a'"):
            load(write({"a": [0, 1], " a": [1, 2], "y": [0, 1]}))

    def test_a_label_alone_is_no_table(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"the one column 'y'; it needs features"):
            load(write({"y": [0, 1]}))

    def test_a_table_without_rows_is_refused(self, write: Write) -> None:
        with pytest.raises(UsageError, match=r"t\.(csv|csv\.gz|parquet) has no rows below its header"):
            load(write({"a": [], "y": []}))

    def test_a_damaged_file_is_one_sentence(self, write: Write) -> None:
        path = write({"a": list(range(500)), "y": [0, 1] * 250})
        if path.suffix == ".csv":
            path.write_bytes(b"a,y\n\xff\xfe,1\n")
        else:
            path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(CannotRun, match=r"cannot be read as (CSV|Parquet).*damaged or cut short") as error:
            load(path)
        assert "\n" not in str(error.value)


class TestCsv:
    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(
        st.lists(
            st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3)),
            min_size=1,
            max_size=8,
        )
    )
    def test_every_float64_is_read_back_to_the_bit(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int]]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "floats.csv"
        path.write_text("a,y\n" + "".join(f"{a!r},{y}\n" for a, y in [*rows, (1.0, 0)]))
        expected = Dataset.of(np.array([[a] for a, _ in rows] + [[1.0]]), [*(y for _, y in rows), 0])
        assert load(path).digest == expected.digest

    def test_quotes_blank_lines_and_byte_order_marks_are_understood(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_bytes('\ufeff"a, b", y\r\n"1.5", dog\r\n\r\n2,"cat"\r\n'.encode())
        data = load(path)
        assert data.features == ("a, b",)
        assert data.x.tolist() == [[1.5], [2.0]]
        assert data.classes == ("cat", "dog")

    @pytest.mark.parametrize(
        ("content", "error", "words"),
        [
            ("", UsageError, "is empty; its first row must name"),
            ("0.5,1\n0.2,0\n", UsageError, r"begins with numbers \('0.5', '1'\)"),
            ("a;b;y\n1;2;0\n", UsageError, "no column called"),
            ("a,y\n1,0\n1,2,0\n", CannotRun, r"3 fields in row 1 \(line 3\) and 2 columns"),
            ("a,y\n1,0\n1\n", CannotRun, r"1 fields in row 1 \(line 3\)"),
            ('a,y\n1,0\n"1,0\n', CannotRun, "cannot be read as CSV"),
            ("a,y\n1_000,0\n", UsageError, "'1_000' in row 0"),
            ('a,y\n"1,5",0\n', UsageError, "'1,5' in row 0"),
            ("a,y\n1e999,0\n", UsageError, "NaN or infinite.*column 'a'"),
            ("a,y\n1,inf\n", UsageError, "holds inf in row 0"),
        ],
    )
    def test_what_is_no_table_is_refused(
        self, tmp_path: Path, content: str, error: type[BrinellError], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            load(text(tmp_path, content))

    def test_pyarrow_is_not_needed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("pyarrow", "pyarrow.csv", "pyarrow.parquet"):
            monkeypatch.setitem(sys.modules, name, None)
        assert len(load(text(tmp_path, "a,y\n1,0\n"))) == 1

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(st.binary(max_size=60), st.booleans())
    def test_any_bytes_raise_nothing_foreign(
        self, tmp_path_factory: pytest.TempPathFactory, raw: bytes, packed: bool
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "mutant.csv"
        path.write_bytes(gzip.compress(b"a,y\n" + raw) if packed else b"a,y\n" + raw)
        assert "mutant.csv" in complaint(path)


class TestParquet:
    def test_float32_is_kept_where_it_holds_every_value(self, tmp_path: Path) -> None:
        path = tmp_path / "t.parquet"
        table = {"a": pa.array([0.1], pa.float32()), "b": pa.array([7], pa.int16()), "y": pa.array([0])}
        parquet.write_table(pa.table(table), path)
        assert load(path).x.dtype == torch.float32
        parquet.write_table(pa.table({**table, "c": pa.array([2**31], pa.int64())}), path)
        assert load(path).x.dtype == torch.float64

    def test_categories_decimals_and_truth_values_are_understood(self, tmp_path: Path) -> None:
        columns = {
            "a": pa.array([True, False]),
            "b": pa.array([Decimal("1.50"), Decimal("2.25")]),
            "y": pa.array(["dog", "cat"]).dictionary_encode(),
        }
        parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
        data = load(tmp_path / "t.parquet")
        assert data.x.tolist() == [[1.0, 1.5], [0.0, 2.25]]
        assert data.classes == ("cat", "dog")

    def test_folder_names_like_partitions_add_no_columns(self, tmp_path: Path) -> None:
        (tmp_path / "year=2024").mkdir()
        parquet.write_table(pa.table({"a": [1], "y": [0]}), tmp_path / "year=2024" / "t.parquet")
        assert load(tmp_path / "year=2024" / "t.parquet").features == ("a",)

    def test_without_pyarrow_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parquet.write_table(pa.table({"a": [1], "y": [0]}), tmp_path / "t.parquet")
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
        with pytest.raises(MissingExtra, match=r"pyarrow is not installed.*brinell\[data\]"):
            load(tmp_path / "t.parquet")
