"""Balls, boxes and points to state laws over."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from brinell.threat import L1, L2, REALS, Box, Linf, PerturbationSet

DTYPES = (torch.float32, torch.float64)
RADII = st.one_of(st.sampled_from([0.0, 1e-6, 8 / 255, 0.1, 0.5, 0.7, 1.0]), st.floats(0, 1, width=32))


@dataclass(frozen=True)
class Case:
    """A set, examples x0 in its box (some on its boundary), other points x, and a direction g."""

    set: PerturbationSet
    x0: Tensor
    x: Tensor
    g: Tensor
    rng: torch.Generator


@st.composite
def boxes(draw: st.DrawFn, features: int) -> Box:
    match draw(st.sampled_from(["unit", "real", "half", "wide", "each"])):
        case "unit":
            return Box(0.0, 1.0)
        case "real":
            return REALS
        case "half":
            return Box(0.0, float("inf"))
        case "wide":
            return Box(-3.3, 255.0)
        case _:
            lows = draw(st.lists(st.floats(-2, 0, width=32), min_size=features, max_size=features))
            return Box(tuple(lows), tuple(low + 1.5 for low in lows))


@st.composite
def cases(draw: st.DrawFn, norms: tuple[str, ...] = ("linf", "l2", "l1")) -> Case:
    shape = draw(st.sampled_from([(1,), (7,), (2, 3), (1, 4, 5)]))
    features = int(torch.Size(shape).numel())
    box, radius = draw(boxes(features)), draw(RADII)
    made = {"linf": Linf, "l2": L2, "l1": L1}[draw(st.sampled_from(norms))](radius).within(box)
    dtype = draw(st.sampled_from(DTYPES))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 4))
    x0 = torch.rand((n, *shape), dtype=dtype, generator=rng) * draw(st.sampled_from([1.0, 100.0]))
    low, high = (side.expand(x0.shape) for side in box.limits(x0))
    edge = torch.rand(x0.shape, generator=rng)
    x0 = torch.where((edge < 0.2) & low.isfinite(), low, torch.where((edge > 0.8) & high.isfinite(), high, x0))
    x0 = box.clamp(x0)
    far = draw(st.sampled_from([0.0, 0.1, 1.0, 30.0]))
    x = x0 + far * torch.randn(x0.shape, dtype=dtype, generator=rng)
    return Case(made, x0, x, torch.randn(x0.shape, dtype=dtype, generator=rng), rng)
