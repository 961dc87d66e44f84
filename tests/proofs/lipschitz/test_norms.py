"""Norms against singular values of the same operator written out, and matrices whose norm is known."""

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs.lipschitz import norms
from brinell.proofs.network.operators import Convolution
from proofs.networks import normal

HOW = st.fixed_dictionaries(
    {
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "groups": st.sampled_from([1, 2]),
    }
)


@pytest.mark.parametrize(
    ("matrix", "norm"),
    [
        (torch.ones(3, 12), 6.0),
        (torch.eye(7), 1.0),
        (torch.tensor([[3.0, 0.0], [4.0, 0.0]]), 5.0),
        (torch.zeros(4, 2), 0.0),
        (torch.tensor([[1.0, 1.0], [0.0, 1.0]]), (1 + sqrt(5)) / 2),
        (1e-160 * torch.eye(3, dtype=torch.float64), 1e-160),
        (1e150 * torch.eye(3, dtype=torch.float64), 1e150),
    ],
)
@pytest.mark.parametrize("steps", [1, 5, 14])
def test_a_norm_that_is_known_is_never_missed(matrix, norm, steps: int) -> None:
    found = float(norms.spectral(matrix.double(), steps))
    rank = max(1, int(torch.linalg.matrix_rank(matrix.double() / max(norm, 1e-300))))
    assert norm <= found <= norm * rank ** (0.5 ** (steps + 1)) * (1 + 1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 9), columns=st.integers(1, 9), steps=st.integers(1, 12))
def test_gram_iteration_comes_from_above_and_falls(seed: int, rows: int, columns: int, steps: int) -> None:
    matrix = normal(rows, columns, rng=torch.Generator().manual_seed(seed))
    truth = float(torch.linalg.matrix_norm(matrix, 2))
    found, before = float(norms.spectral(matrix, steps)), float(norms.spectral(matrix, max(1, steps - 1)))
    assert truth * (1 - 1e-13) <= found <= truth * min(rows, columns) ** (0.5 ** (steps + 1)) * (1 + 1e-12)
    assert found <= before * (1 + 1e-12)


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), how=HOW, kernel=st.integers(1, 3), height=st.integers(3, 7), width=st.integers(3, 7))
def test_a_convolution_is_bounded_with_its_own_stride_and_padding(seed, how, kernel, height, width) -> None:
    reach = [(kernel - 1) * d + 1 for d in how["dilation"]]
    if reach[0] > height + 2 * how["padding"][0] or reach[1] > width + 2 * how["padding"][1]:
        return
    weight = normal(4, 4 // how["groups"], kernel, kernel, rng=torch.Generator().manual_seed(seed))
    operator = Convolution(weight, torch.zeros(4, dtype=torch.float64), (height, width), **how)
    units = torch.eye(4 * height * width, dtype=torch.float64).reshape(-1, 4, height, width)
    written = operator.forward(units)
    truth = float(torch.linalg.matrix_norm(written.flatten(1), 2))
    found = norms.convolution(operator, tuple(written.shape[-2:]), 12)
    assert truth * (1 - 1e-13) <= found
    if how["padding"] == (0, 0) and kernel == 1:  # then nothing of the torus is cut away
        assert found <= truth * 1.01


def test_the_bound_of_a_convolution_is_close_where_the_image_is_large() -> None:
    weight = normal(5, 3, 3, 3, rng=torch.Generator().manual_seed(0))
    operator = Convolution(weight, torch.zeros(5, dtype=torch.float64), (14, 14), stride=(2, 2), padding=(1, 1))
    written = operator.forward(torch.eye(588, dtype=torch.float64).reshape(588, 3, 14, 14))
    truth = float(torch.linalg.matrix_norm(written.flatten(1), 2))
    assert truth <= norms.convolution(operator, (7, 7), 10) <= 1.06 * truth


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_not_a_number_has_no_norm(value) -> None:
    found = float(norms.spectral(torch.tensor([[1.0, value], [0.0, 1.0]], dtype=torch.float64), 5))
    assert not found < torch.inf
