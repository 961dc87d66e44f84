"""The same values in another place or shape."""

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, own_axis, varying
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import Concatenate, Pad, Permute, Pick

aten = torch.ops.aten


def _reshape(build: Builder, x: Argument, *shape: object) -> Value:
    return build.reshape(varying(x), build.expected)


def _permute(build: Builder, x: Argument, axes: Sequence[int]) -> Value:
    x = varying(x)
    if axes[0] != 0:
        raise Unsupported("the batch axis moved")
    return build.add(Permute(tuple(own_axis(axis, x) for axis in axes[1:])), x)


def _transpose(build: Builder, x: Argument, first: int, second: int) -> Value:
    x = varying(x)
    return build.transpose(x, own_axis(first, x), own_axis(second, x))


def _slice(
    build: Builder,
    x: Argument,
    axis: int = 0,
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
) -> Value:
    x = varying(x)
    place = own_axis(axis, x)
    kept = range(x.shape[place])[start:stop:step]
    return build.add(Pick(place, kept.start, kept.step, len(kept), x.shape[place]), x)


def _select(build: Builder, x: Argument, axis: int, index: int) -> Value:
    x = varying(x)
    place = own_axis(axis, x)
    total = x.shape[place]
    return build.reshape(build.add(Pick(place, index % total, 1, 1, total), x), build.expected)


def _pad(
    build: Builder, x: Argument, sides: Sequence[int], mode: str = "constant", value: float | None = None
) -> Value:
    if mode != "constant" or value or min(sides) < 0:
        raise Unsupported(f"padding {list(sides)} with {mode=} and {value=}; zeros are supported")
    return build.add(Pad(tuple(zip(sides[::2], sides[1::2], strict=True))), varying(x))


def _pad_zeros(build: Builder, x: Argument, sides: Sequence[int], value: float | None = None) -> Value:
    return _pad(build, x, sides, "constant", value)


def _concatenate(build: Builder, parts: Sequence[Argument], axis: int = 0) -> Value:
    values = [varying(part) for part in parts]
    place = own_axis(axis, values[0])
    return build.add(Concatenate(place, tuple(value.shape[place] for value in values)), *values)


def _expand(build: Builder, x: Argument, shape: Sequence[int], *options: object) -> Value:
    return build.expand(varying(x), build.expected)


def _split(build: Builder, x: Argument, sizes: Sequence[int] | int, axis: int = 0) -> list[Value]:
    x = varying(x)
    place = own_axis(axis, x)
    total = x.shape[place]
    lengths = [min(sizes, total - i) for i in range(0, total, sizes)] if isinstance(sizes, int) else list(sizes)
    starts = itertools.accumulate(lengths, initial=0)
    return [build.add(Pick(place, start, 1, length, total), x) for start, length in zip(starts, lengths, strict=False)]


def _same(build: Builder, x: Argument, *options: object, **formats: object) -> Value:
    return varying(x)


def _first(build: Builder, x: Argument | list[Value], index: int) -> Value:
    if isinstance(x, list):
        return x[index]
    if index != 0:
        raise Unsupported(f"result {index} of an operator with several")
    return varying(x)


def _dropout(build: Builder, x: Argument, share: float, train: bool) -> Value:
    if train:
        raise Unsupported("dropout that stays on in eval mode: the network is random")
    return varying(x)


RULES: dict[Any, Rule] = {
    operator.getitem: _first,
    aten.view.default: _reshape,
    aten._unsafe_view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.flatten.using_ints: _reshape,
    aten.unflatten.int: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.expand.default: _expand,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.pad.default: _pad,
    aten.constant_pad_nd.default: _pad_zeros,
    aten.cat.default: _concatenate,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten.detach.default: _same,
    aten.contiguous.default: _same,
    aten.dropout.default: _dropout,
}
