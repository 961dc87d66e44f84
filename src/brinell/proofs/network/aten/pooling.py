"""Windows of an image."""

from collections.abc import Sequence
from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, pair, varying
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import MaxPool, average

aten = torch.ops.aten


def _average_pool(
    build: Builder,
    x: Argument,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    x = varying(x)
    window = pair(kernel)
    sides = pair(padding)
    if ceil_mode or (sides != (0, 0) and not count_include_pad):
        raise Unsupported(f"average pooling with {ceil_mode=}, {count_include_pad=} and padding {sides}")
    divisor = divisor_override or window[0] * window[1]
    size = (x.shape[1], x.shape[2])
    return build.add(average(x.shape[0], size, window, pair(stride or kernel), sides, divisor), x)


def _adaptive_average_pool(build: Builder, x: Argument, output: Sequence[int]) -> Value:
    x = varying(x)
    height, width = x.shape[1:]
    rows, columns = pair(output)
    if height % rows or width % columns:
        raise Unsupported(f"adaptive pooling from {(height, width)} to {(rows, columns)}, which does not divide it")
    return _average_pool(build, x, (height // rows, width // columns))


def _max_pool(
    build: Builder,
    x: Argument,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Value:
    if ceil_mode:
        raise Unsupported("max pooling with ceil_mode=True")
    return build.add(MaxPool(pair(kernel), pair(stride or kernel), pair(padding), pair(dilation)), varying(x))


RULES: dict[Any, Rule] = {
    aten.avg_pool2d.default: _average_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_average_pool,
    aten.max_pool2d.default: _max_pool,
    aten.max_pool2d_with_indices.default: _max_pool,
}
