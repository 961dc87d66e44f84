"""Shares of a whole, and what weighs values by them."""

from typing import Any

import torch

from brinell.verify.aten.arguments import Argument, Rule, own_axis, varying
from brinell.verify.builder import Builder, Value
from brinell.verify.graph import Unsupported

aten = torch.ops.aten


def _softmax(build: Builder, x: Argument, axis: int, *options: object) -> Value:
    x = varying(x)
    return build.softmax(x, own_axis(axis, x))


def _log_softmax(build: Builder, x: Argument, axis: int, *options: object) -> Value:
    x = varying(x)
    return build.softmax(x, own_axis(axis, x), logarithm=True)


def _attention(
    build: Builder,
    query: Argument,
    key: Argument,
    value: Argument,
    mask: Argument = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """softmax(q k' / sqrt(d)) v."""
    q, k, v = varying(query), varying(key), varying(value)
    if mask is not None or dropout or is_causal or enable_gqa:
        raise Unsupported("attention with a mask, dropout or shared keys")
    last = len(k.shape) - 1
    likeness = build.contraction(q, build.transpose(k, last - 1, last))
    likeness = build.scale(likeness, q.shape[-1] ** -0.5 if scale is None else scale)
    return build.contraction(build.softmax(likeness, last), v)


RULES: dict[Any, Rule] = {
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
    aten.log_softmax.int: _log_softmax,
    aten._log_softmax.default: _log_softmax,
    aten.scaled_dot_product_attention.default: _attention,
}
