"""Networks small enough to know the truth about, as graphs made by hand: no export, so a test may make many."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from brinell.proofs import Graph
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import (
    GELU,
    Convolution,
    Linear,
    MaxPool,
    Power,
    Reciprocal,
    Sigmoid,
    Tanh,
    average,
)
from brinell.threat import L2, Box, Linf, PerturbationSet

UNIT = Box(0.0, 1.0)


def normal(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def dense(build: Builder, x: Value, outputs: int, rng: torch.Generator) -> Value:
    weight = normal(outputs, x.shape[-1], rng=rng) / x.shape[-1] ** 0.5
    return build.add(Linear(weight, normal(outputs, rng=rng) / 4), x)


def convolve(build: Builder, x: Value, channels: int, kernel: int, rng: torch.Generator, **how: object) -> Value:
    groups = int(str(how.get("groups", 1)))
    inputs = x.shape[0] // groups
    weight = normal(channels, inputs, kernel, kernel, rng=rng) / (inputs * kernel**2) ** 0.5
    return build.add(Convolution(weight, normal(channels, rng=rng) / 4, x.shape[1:], **how), x)


def perceptron(widths: tuple[int, ...], seed: int) -> Graph:
    """Linear layers with ReLUs between."""
    rng, build = torch.Generator().manual_seed(seed), Builder()
    x = build.input(widths[:1])
    for width in widths[1:-1]:
        x = build.relu(dense(build, x, width, rng))
    dense(build, x, widths[-1], rng)
    return graph(build.nodes)


def residual(seed: int, maximum: bool = False) -> Graph:
    """Convolutions, batch normalisation, two kinds of shortcut, and pooling, on inputs (2, 6, 6) with 3 classes."""
    rng, build = torch.Generator().manual_seed(seed), Builder()
    x = build.scale(build.input((2, 6, 6)), 2.0, normal(2, 1, 1, rng=rng) / 4)
    h = convolve(build, x, 4, 3, rng, stride=(2, 2), padding=(1, 1))
    h = build.relu(build.scale(h, 1 + normal(4, 1, 1, rng=rng) / 4, normal(4, 1, 1, rng=rng) / 4))
    h = build.total((1, convolve(build, h, 4, 3, rng, padding=(1, 1))), (1, h))
    h = build.relu(build.total((1, h), (-1, convolve(build, x, 4, 1, rng, stride=(2, 2)))))
    if maximum:
        h = build.add(MaxPool((2, 2), (1, 1)), h)
    else:
        h = build.add(average(4, (3, 3), (3, 3), (3, 3), (0, 0), 9), h)
    dense(build, build.reshape(h, (torch.Size(h.shape).numel(),)), 3, rng)
    return graph(build.nodes)


def mixed(seed: int) -> Graph:
    """Smooth functions, a product, a quotient, a maximum and a softmax among ReLUs, on 4 inputs with 3 classes."""
    rng, build = torch.Generator().manual_seed(seed), Builder()
    x = build.input((4,))
    h = build.relu(dense(build, x, 6, rng))
    gate = build.add(Sigmoid(), dense(build, h, 6, rng))
    h = build.product(build.add(Tanh(), dense(build, h, 6, rng)), gate)
    h = build.total((1, h), (0.5, build.add(GELU(), dense(build, x, 6, rng))))
    h = build.product(h, build.add(Reciprocal(), build.scale(build.add(Power(2), h), shift=2.0)))
    h = build.maximum(h, dense(build, build.softmax(h, 0), 6, rng))
    dense(build, build.relu(dense(build, h, 5, rng)), 3, rng)
    return graph(build.nodes)


def examples(network: Graph, count: int, seed: int) -> Tensor:
    """Points of the unit box."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, *network.nodes[0].shape, generator=rng, dtype=torch.float64)


def inside(set: PerturbationSet, x0: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Points of set ∩ box, many at its edge: (count, batch, *shape)."""
    edge = [set.project(x0, x0 + 2 * torch.randn(x0.shape, generator=rng, dtype=x0.dtype).sign()) for _ in range(count)]
    return torch.stack([set.sample(x0, rng) for _ in range(count)] + edge)


def sets() -> st.SearchStrategy[PerturbationSet]:
    """Balls in the unit box, down to a point."""
    return st.builds(
        lambda kind, radius: kind(radius, UNIT),
        st.sampled_from([Linf, L2]),
        st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.3]),
    )
