"""Softmax and attention."""

from typing import Any

import torch
from torch import Tensor

from brinell.proofs.network.aten.arguments import Argument, Rule, own_axis, unbatched, varying
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Unsupported

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
    """softmax(q k' / sqrt(d) + mask) v."""
    q = varying(query)
    k = varying(key)
    v = varying(value)
    if dropout or enable_gqa:
        raise Unsupported("attention with dropout or shared keys")
    last = len(k.shape) - 1
    likeness = build.contraction(q, build.transpose(k, last - 1, last))
    likeness = build.scale(likeness, q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is None and not is_causal:
        return build.contraction(build.softmax(likeness, last), v)
    shift, allowed = _mask(mask, likeness) if not is_causal else (None, _causal(likeness.shape))
    if not allowed.any(-1).all():
        raise Unsupported("attention with a mask that leaves nothing to attend to")
    likeness = likeness if shift is None else build.scale(likeness, shift=shift)
    return build.contraction(build.softmax(likeness, last, allowed=allowed), v)


def _mask(mask: Argument, likeness: Value) -> tuple[Tensor | None, Tensor]:
    """(what the mask adds where it is finite, which keys it keeps), for one example."""
    if not isinstance(mask, Tensor):
        raise Unsupported("attention with a mask that depends on the input")
    if mask.dtype == torch.bool:
        return None, unbatched(mask.double(), likeness).bool().expand(likeness.shape)
    finite = mask > -torch.inf
    shift = unbatched(mask.double().where(finite, 0.0), likeness)
    return shift, unbatched(finite.double(), likeness).bool().expand(likeness.shape)


def _causal(shape: tuple[int, ...]) -> Tensor:
    """Each query attends to the keys up to its own place."""
    return torch.ones(shape[-2:], dtype=torch.bool).tril().expand(shape)


RULES: dict[Any, Rule] = {
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
    aten.log_softmax.int: _log_softmax,
    aten._log_softmax.default: _log_softmax,
    aten.scaled_dot_product_attention.default: _attention,
}
