from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.data import Dataset
from brinell.errors import UsageError

QUICK = settings(derandomize=True, deadline=None, max_examples=60)


def small(labels: list[int] | None = None) -> Dataset:
    y = [0, 1, 0, 2] if labels is None else labels
    x = np.arange(len(y) * 3, dtype=np.float32).reshape(len(y), 3)
    return Dataset.of(x, np.array(y))


class TestOf:
    def test_arrays_tensors_and_lists_give_the_same_data(self) -> None:
        x, y = [[0.5, 1.0], [2.0, 3.0]], [1, 0]
        array = Dataset.of(np.array(x, np.float32), np.array(y))
        tensor = Dataset.of(torch.tensor(x, requires_grad=True), torch.tensor(y))
        assert array.digest == tensor.digest
        assert Dataset.of(x, y).y.tolist() == y

    def test_the_data_are_a_copy(self) -> None:
        x, y = np.zeros((2, 3), np.float32), np.array([0, 1])
        data = Dataset.of(x, y)
        x[:], y[:] = 9, 9
        assert data.x.eq(0).all()
        assert data.y.tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("dtype", "shape", "expected"),
        [
            ("float32", (2, 3), torch.float32),
            ("float64", (2, 3), torch.float64),
            ("float16", (2, 3), torch.float32),
            ("uint8", (2, 3), torch.float32),
            ("int16", (2, 3), torch.float32),
            ("int32", (2, 3), torch.float64),
            ("bool", (2, 3), torch.float32),
            (">f8", (2, 3), torch.float64),
            ("float64", (2, 1, 4, 4), torch.float32),
            ("int64", (2, 1, 4, 4), torch.float32),
            ("uint8", (2, 1, 4, 4), torch.float32),
        ],
    )
    def test_float64_is_kept_for_tables_only(self, dtype: str, shape: tuple[int, ...], expected: torch.dtype) -> None:
        assert Dataset.of(np.ones(shape, dtype), [0, 1]).x.dtype == expected

    def test_a_float64_table_keeps_every_bit(self) -> None:
        value = 0.1 + 2**-50
        assert Dataset.of(np.array([[value]]), [0]).x.item() == value

    def test_bytes_of_images_are_scaled_and_it_is_said(self) -> None:
        data = Dataset.of(np.array([[[[0, 51, 255]]]], np.uint8), [0])
        assert data.x.flatten().tolist() == [0.0, np.float32(0.2), 1.0]
        assert data.scaling == "uint8 / 255"
        assert "uint8 / 255" in repr(data)

    def test_bytes_of_a_table_are_numbers(self) -> None:
        data = Dataset.of(np.array([[0, 255]], np.uint8), [0])
        assert data.x.tolist() == [[0.0, 255.0]]
        assert data.scaling is None

    def test_the_layout_at_hand_is_kept(self) -> None:
        assert Dataset.of(np.zeros((2, 5, 5, 3)), [0, 1]).x.shape == (2, 5, 5, 3)

    def test_bfloat16_and_a_column_of_labels_are_understood(self) -> None:
        data = Dataset.of(torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor([[1], [0]]))
        assert data.x.dtype == torch.float32
        assert data.y.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("x", "y", "words"),
        [
            (
                [[1.0, float("nan")], [float("inf"), 0.0]],
                [0, 1],
                ["2 values", "NaN", "row 0", "fill them in"],
            ),
            ([[1.0], [2.0]], [0], ["x has 2 examples", "(1,)", "one label each"]),
            ([[1.0]], [0.5], ["y holds float64", "0.5", "astype"]),
            ([[1.0], [2.0]], [0, -1], ["1 negative", "first is -1", "row 1"]),
            ([[1.0], [2.0]], [[1, 0], [0, 1]], ["y has shape (2, 2)", "argmax"]),
            ([[[1.0]]], [[[0]]], ["y has shape (1, 1, 1)"]),
            ([1.0, 2.0], [0, 1], ["x has shape (2,)", "(n, *shape)"]),
            ([[1.0], [2.0, 3.0]], [0, 1], ["x is ragged"]),
            ([["a"]], [0], ["x holds <U1", "real numbers"]),
            ([[1.0]], ["cat"], ["y holds <U3"]),
            ([[1j]], [0], ["x holds complex128"]),
            (np.zeros((0, 3)), np.zeros(0, np.int64), ["shape (0, 3)", "at least one example"]),
            (np.zeros((2, 0)), [0, 1], ["no values"]),
            (np.full((1, 1, 1, 1), 1e300), [0], ["infinite in float32"]),
            ([[1.0]], np.array([2**64 - 1], np.uint64), [str(2**64 - 1), "count from 0"]),
        ],
    )
    def test_what_cannot_be_data_is_refused_by_name(self, x: object, y: object, words: list[str]) -> None:
        with pytest.raises(UsageError) as error:
            Dataset.of(x, y)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
        for word in ["memory: ", *words]:
            assert word in str(error.value)

    def test_a_bad_value_in_a_table_is_found_by_its_column(self) -> None:
        with pytest.raises(UsageError, match=r"row 1, column 'b'"):
            Dataset.of([[0.0, 1.0], [2.0, float("nan")]], [0, 1], features=("a", "b"))

    def test_names_must_reach_every_class_and_column(self) -> None:
        with pytest.raises(UsageError, match="y holds 2, and classes names only 2"):
            Dataset.of([[0.0]], [2], classes=("cat", "dog"))
        with pytest.raises(UsageError, match="features names 1 columns"):
            Dataset.of([[0.0, 1.0]], [0], features=("a",))


class TestFields:
    def test_fields_of_other_types_are_refused(self) -> None:
        data = small()
        with pytest.raises(UsageError, match=r"x is torch.int64.*Dataset.of"):
            replace(data, x=data.x.long())
        with pytest.raises(UsageError, match=r"y is torch.int32.*Dataset.of"):
            replace(data, y=data.y.int())
        with pytest.raises(UsageError, match=r"ids is torch\.int64 of shape"):
            replace(data, ids=data.ids[:1])
        with pytest.raises(UsageError, match="ids repeat"):
            replace(data, ids=torch.zeros_like(data.ids))


class TestDigest:
    def test_it_is_the_same_on_every_machine(self) -> None:
        """Computed once by hand: sha256 over the three headers and little-endian bytes."""
        import hashlib
        import struct

        data = Dataset.of(np.array([[0.5, -1.0]], np.float32), [3])
        parts = (
            b"x torch.float32 (1, 2)\n" + struct.pack("<2f", 0.5, -1.0),
            b"y torch.int64 (1,)\n" + struct.pack("<q", 3),
            b"ids torch.int64 (1,)\n" + struct.pack("<q", 0),
        )
        assert data.digest == hashlib.sha256(b"".join(parts)).hexdigest()

    def test_memory_layout_and_names_do_not_enter(self) -> None:
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        straight = Dataset.of(x, [0, 1])
        bent = Dataset.of(np.asfortranarray(x), [0, 1], classes=("a", "b"), source="elsewhere")
        transposed = replace(straight, x=straight.x.T.contiguous().T)
        assert straight.digest == bent.digest == transposed.digest

    @QUICK
    @given(st.data())
    def test_any_changed_value_changes_it(self, draw: st.DataObject) -> None:
        data = small()
        field = draw.draw(st.sampled_from(["x", "y", "ids"]))
        tensor = getattr(data, field).clone()
        index = draw.draw(st.integers(0, tensor.numel() - 1))
        tensor.view(-1)[index] += 100
        assert replace(data, **{field: tensor}).digest != data.digest

    @QUICK
    @given(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True))
    def test_any_swapped_rows_change_it(self, pair: list[int]) -> None:
        data = small()
        order = torch.arange(4)
        order[pair] = order[pair[::-1]]
        assert replace(data, x=data.x[order], y=data.y[order], ids=data.ids[order]).digest != data.digest

    def test_shape_and_dtype_enter(self) -> None:
        flat = Dataset.of(np.zeros((2, 6), np.float32), [0, 1])
        shaped = Dataset.of(np.zeros((2, 1, 2, 3), np.float32), [0, 1])
        double = Dataset.of(np.zeros((2, 6)), [0, 1])
        assert len({flat.digest, shaped.digest, double.digest}) == 3


class TestTake:
    @QUICK
    @given(
        st.lists(st.integers(0, 4), min_size=1, max_size=40),
        st.integers(1, 45),
        st.integers(0, 2**31),
        st.booleans(),
    )
    def test_a_sample_keeps_rows_whole_and_in_order(self, labels: list[int], n: int, seed: int, balanced: bool) -> None:
        data = small(labels)
        some = data.take(n, seed, balanced)
        assert len(some) == min(n, len(labels))
        assert (some.ids.diff() > 0).all()
        assert some.x.equal(data.x[some.ids])
        assert some.y.equal(data.y[some.ids])

    @QUICK
    @given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 45), st.integers(0, 2**31))
    def test_a_balanced_sample_is_as_level_as_the_classes_allow(self, labels: list[int], n: int, seed: int) -> None:
        taken = small(labels).take(n, seed, balanced=True).y.bincount(minlength=5)
        held = torch.tensor(labels).bincount(minlength=5)
        unspent = taken < held
        assert (taken[unspent] >= taken.max() - 1).all()

    def test_the_seed_decides(self) -> None:
        data = small(list(range(50)))
        assert data.take(10, 1).digest == data.take(10, 1).digest
        assert data.take(10, 1).digest != data.take(10, 2).digest

    @pytest.mark.parametrize("balanced", [False, True])
    def test_a_larger_sample_holds_the_smaller(self, balanced: bool) -> None:
        data = small([i % 7 for i in range(60)])
        few, more = data.take(9, 3, balanced), data.take(30, 3, balanced)
        assert set(few.ids.tolist()) < set(more.ids.tolist())

    def test_every_row_is_as_likely(self) -> None:
        data = small([0] * 10)
        counts = sum(data.take(3, seed).ids.bincount(minlength=10) for seed in range(1000))
        assert isinstance(counts, torch.Tensor)
        # Binomial(1000, 0.3): mean 300, standard deviation 14.5; five of them either side.
        assert (counts - 300).abs().max() < 75

    def test_a_sample_of_a_sample_keeps_the_first_row_numbers(self) -> None:
        data = small(list(range(20)))
        twice = data.take(10, 0).take(5, 0)
        assert twice.x.equal(data.x[twice.ids])

    def test_the_global_generator_is_left_alone(self) -> None:
        before = torch.get_rng_state()
        small().take(2, 0, balanced=True)
        assert before.equal(torch.get_rng_state())

    def test_nothing_cannot_be_taken(self) -> None:
        with pytest.raises(UsageError, match="n is 0; take at least 1"):
            small().take(0, 0)


def test_the_representation_is_one_line() -> None:
    assert repr(small()) == "Dataset(memory: 4 examples of shape (3,), float32)"
