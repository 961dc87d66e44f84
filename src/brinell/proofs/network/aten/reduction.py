"""Sums, means and extremes over axes of one example."""

from collections.abc import Sequence
from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, own_axis, varying
from brinell.proofs.network.aten.arithmetic import negated
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.operators import MaxPool, Permute

aten = torch.ops.aten


def _mean(build: Builder, x: Argument, axes: Sequence[int] | None, keepdim: bool = False) -> Value:
    x = varying(x)
    within = [own_axis(axis, x) for axis in axes or range(len(x.shape) + 1)]
    count = torch.Size(x.shape[axis] for axis in within).numel()
    return build.weighted(x, within, 1 / count, keepdim)


def _sum(build: Builder, x: Argument, axes: Sequence[int] | None, keepdim: bool = False) -> Value:
    x = varying(x)
    return build.weighted(x, [own_axis(axis, x) for axis in axes or range(len(x.shape) + 1)], 1.0, keepdim)


def _largest(build: Builder, x: Argument, axes: Sequence[int] = (), keepdim: bool = False) -> Value:
    """Max pooling with one window over all of them."""
    x = varying(x)
    within = [own_axis(axis, x) for axis in axes or range(len(x.shape) + 1)]
    rest = [axis for axis in range(len(x.shape)) if axis not in within]
    count = torch.Size(x.shape[axis] for axis in within).numel()
    row = build.reshape(build.add(Permute((*rest, *within)), x), (torch.Size(x.shape).numel() // count, 1, count))
    return build.reshape(build.add(MaxPool((1, count), (1, count)), row), build.expected)


def _smallest(build: Builder, x: Argument, axes: Sequence[int] = (), keepdim: bool = False) -> Value:
    return negated(build, _largest(build, negated(build, x), axes, keepdim))


RULES: dict[Any, Rule] = {
    aten.mean.dim: _mean,
    aten.sum.dim_IntList: _sum,
    aten.amax.default: _largest,
    aten.amin.default: _smallest,
}
