"""Random networks of every operator: no verifier certifies what a point of the box contradicts."""

import importlib
from pathlib import Path

import pytest

SEEDS = range(20)


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("benchmarks.fuzz_graphs")


@pytest.mark.sweep(4)
@pytest.mark.parametrize("first", SEEDS[::5])
def test_no_certificate_of_a_random_network_is_false(fuzz, first):
    count = fuzz.Count()
    for seed in range(first, first + 5):
        fuzz.tried(seed, count)
    assert count.false == []
    assert count.graphs["made"] == count.graphs["read"] + count.refused.total() >= 5


@pytest.mark.slow
def test_a_false_bound_is_found(fuzz, monkeypatch):
    """A verifier that is wrong by little is caught by the points."""

    class Boastful(fuzz.Verifier):
        def __call__(self, graph, x0, set, spec, *more):
            return fuzz.CROWN()(graph, x0, set.resized(0.5 * set.radius), spec, *more)

    monkeypatch.setattr(fuzz, "VERIFIERS", {"boastful": Boastful()})
    count = fuzz.Count()
    for seed in range(8):
        fuzz.tried(seed, count)
    assert any("boastful" in found for found in count.false)
