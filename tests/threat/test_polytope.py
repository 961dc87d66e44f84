"""The nearest point of a polytope: against closed forms, and against points found at random."""

import numpy as np
import pytest
import torch

from brinell.errors import UsageError
from brinell.threat import L0, L1, L2, Linf
from brinell.threat.polytope import centre

NORMS = {Linf(np.inf): np.inf, L1(np.inf): 1, L2(np.inf): 2}
SETS = pytest.mark.parametrize("set", NORMS, ids=lambda s: s.name)


def faces(rng, count, n):
    normals = rng.normal(size=(count, n))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@SETS
def test_the_nearest_point_of_a_half_space_is_as_far_as_the_plane(set):
    rng = np.random.default_rng(0)
    for _ in range(10):
        normal, x0 = faces(rng, 1, 4), rng.normal(size=4)
        offset = normal @ x0 - rng.random(1)
        point, bound = set.nearest_in(torch.from_numpy(x0)[None], normal, offset)
        rise = float((offset - normal @ x0)[0])
        assert bound == pytest.approx(-rise / np.linalg.norm(normal[0], {np.inf: 1, 1: np.inf, 2: 2}[NORMS[set]]))
        assert np.linalg.norm(point - x0, NORMS[set]) == pytest.approx(bound)
        assert set.to_plane(torch.from_numpy(normal[0]), rise) == pytest.approx(bound)


@SETS
def test_no_point_of_a_polytope_is_nearer_than_the_bound_and_the_nearest_is_as_near(set):
    rng = np.random.default_rng(1)
    for _ in range(20):
        inside, x0 = rng.normal(size=3), 3 * rng.normal(size=3)
        normals = faces(rng, 7, 3)
        offsets = normals @ inside + rng.random(7)
        point, bound = set.nearest_in(torch.from_numpy(x0)[None], normals, offsets)
        assert (normals @ point <= offsets + 1e-8).all()
        assert np.linalg.norm(point - x0, NORMS[set]) == pytest.approx(bound, abs=1e-8)
        shares = rng.random((500, 1))
        others = inside + (point - inside) * shares + 0.3 * rng.normal(size=(500, 3)) * (1 - shares)
        others = others[(others @ normals.T <= offsets).all(1)]
        assert len(others)
        assert (np.linalg.norm(others - x0, NORMS[set], axis=1) >= bound - 1e-9).all()


@SETS
def test_a_point_inside_is_its_own_nearest_and_nothing_is_near_in_what_is_empty(set):
    normals = np.array([[1.0, 0.0], [-1.0, 0.0]])
    point, bound = set.nearest_in(torch.zeros(1, 2), normals, np.array([1.0, 1.0]))
    assert (bound, point.tolist()) == (0.0, [0.0, 0.0])
    point, bound = set.nearest_in(torch.zeros(1, 2), normals, np.array([1.0, -1.5]))
    assert point is None
    assert bound > 1e4


def test_a_set_without_nearest_points_names_those_that_have_them():
    with pytest.raises(UsageError, match="the set 'l0' has no nearest point of a polytope; use linf, l1 or l2"):
        L0(1).nearest_in(torch.zeros(1, 2), np.eye(2), np.ones(2))


def test_the_centre_of_a_square_and_of_its_side():
    normals, offsets = np.vstack([np.eye(2), -np.eye(2)]), np.ones(4) / 2
    point, radius = centre(normals, offsets)
    np.testing.assert_allclose([*point, radius], [0.0, 0.0, 0.5], atol=1e-9)
    point, radius = centre(normals[1:], offsets[1:], (normals[0], 0.5))
    np.testing.assert_allclose([*point, radius], [0.5, 0.0, 0.5], atol=1e-9)
    assert centre(normals, -offsets)[1] < 0
