"""Normalisation, by statistics that are constants or by an example's own."""

from collections.abc import Sequence
from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, varying
from brinell.proofs.network.builder import Builder, Value, constant

aten = torch.ops.aten


def _batch_norm(
    build: Builder,
    x: Argument,
    weight: Argument,
    bias: Argument,
    mean: Argument,
    variance: Argument,
    momentum: float,
    eps: float,
) -> Value:
    x = varying(x)
    factor = (constant(variance) + eps).rsqrt() * constant(1.0 if weight is None else weight)
    shift = constant(0.0 if bias is None else bias).expand_as(factor)
    broadcast = (-1,) + (1,) * (len(x.shape) - 1)
    centred = build.scale(x, shift=-constant(mean).reshape(broadcast))  # apart, so that it is seen what may cancel
    return build.scale(centred, factor.reshape(broadcast), shift.reshape(broadcast))


def _layer_norm(
    build: Builder,
    x: Argument,
    shape: Sequence[int],
    weight: Argument = None,
    bias: Argument = None,
    eps: float = 1e-5,
    *options: object,
) -> Value:
    x = varying(x)
    normal = build.normalised(x, range(len(x.shape) - len(shape), len(x.shape)), eps)
    return build.scale(normal, constant(1.0 if weight is None else weight), constant(0.0 if bias is None else bias))


RULES: dict[Any, Rule] = {
    aten._native_batch_norm_legit_no_training.default: _batch_norm,
    aten.layer_norm.default: _layer_norm,
    aten.native_layer_norm.default: _layer_norm,
}
