"""Activations with settings in and far out of their usual ranges, by PyTorch's operator, and where each may
nonlinearity."""

import itertools

import torch
from torch import Tensor

from brinell.proofs import Graph
from brinell.proofs.network.aten import RULES
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph

aten = torch.ops.aten

WIDE = (-1e6, -2.0, -0.5, 0.0, 0.5, 2.0, 1e6)
FEW = (-2.0, 0.0, 0.5, 3.0)
PLAIN = ("relu", "abs", "sigmoid", "tanh", "erf", "exp", "square", "silu", "mish", "hardswish", "hardsigmoid", "relu6")


def cases() -> dict[str, tuple]:
    """(operator, settings) by name."""
    made = [(getattr(aten, name).default, ()) for name in (*PLAIN, "selu", "gelu")]
    one = (aten.leaky_relu, aten.elu, aten.celu, aten.softshrink, aten.hardshrink, aten.clamp_min, aten.clamp_max)
    made += [(operator.default, (a,)) for operator in one for a in WIDE]
    made += [(aten.prelu.default, (torch.tensor([a], dtype=torch.float64),)) for a in WIDE]
    for operator, first in (
        (aten.clamp, FEW),
        (aten.softplus, FEW),
        (aten.hardtanh, FEW[:1]),
        (aten.threshold, FEW[:2]),
    ):
        made += [(operator.default, pair) for pair in itertools.product(first, FEW)]
    made += [(aten.softplus.default, (beta, 20.0)) for beta in (-3.0, 1e-3, 1.0, 50.0)]
    made += [(aten.elu.default, setting) for setting in itertools.product((-2.0, 3.0), (-1.0, 2.0), (-1.0, 0.5))]
    whole = (-4.0, -3.0, -1.0, 2.0, 3.0, 8.0, 31.0)
    made += [(aten.pow.Tensor_Scalar, (e,)) for e in (*whole, -2.5, -0.5, 0.0, 1e-3, 0.5, 1.0, 1.5)]
    return {f"{operator} {shown(settings)}": (operator, settings) for operator, settings in made}


def shown(settings: tuple) -> str:
    return ", ".join(str(float(s)) for s in settings)


def knots(settings: tuple) -> list[float]:
    """Zero, and what the settings say themselves, in the units of the input."""
    numbers = [float(s) for s in settings]
    found = {0.0, *numbers, *(-n for n in numbers), 3.0, -3.0}
    if len(numbers) == 2 and numbers[0]:
        found.add(numbers[1] / numbers[0])
    return sorted(n for n in found if abs(n) <= 1e3)


def network(operator: object, settings: tuple, layers: int = 1) -> Graph:
    """The operator on one input; or twice, with a mixture between of what it gives of the input and of its negative."""
    build = Builder()
    x = build.input((1,))
    y = RULES[operator](build, x, *settings)
    if layers == 2:
        other = RULES[operator](build, build.scale(x, -0.7, 0.2), *settings)
        y = RULES[operator](build, build.total((0.5, y), (-0.8, other)), *settings)
    build.scale(y, 1.0)
    return graph(build.nodes)


def value(operator: object, settings: tuple, x: Tensor, layers: int = 1) -> Tensor:
    """What PyTorch gives."""
    y = operator(x, *settings)
    if layers == 2:
        y = operator(0.5 * y - 0.8 * operator(-0.7 * x + 0.2, *settings), *settings)
    return y


def dense(low: float, high: float, places: list[float], count: int = 400) -> Tensor:
    """Points from low to high, and the last numbers on both sides of each place between."""
    at = torch.tensor([low, high, *(place for place in places if low <= place <= high)], dtype=torch.float64)
    up, down = (torch.nextafter(at, torch.full_like(at, sign * torch.inf)) for sign in (1, -1))
    near = torch.cat([at + sign * step for sign in (1, -1) for step in (1e-9, 1e-4)])
    x = torch.cat((torch.linspace(low, high, count, dtype=torch.float64), at, up, down, near))
    return x.clamp(low, high).unique().unsqueeze(1)
