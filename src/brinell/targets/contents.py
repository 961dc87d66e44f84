"""A hash of what a user's object holds: the same in every process, whatever it is made of."""

import hashlib
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

_DEEPEST = 16
"""Levels of containers that are looked into."""


@final
class Contents:
    """Values added one after the other: numbers, text, tensors and arrays of any kind, and containers of them.

    Of anything else only the type counts: what it prints may hold its address.
    """

    def __init__(self, *values: object) -> None:
        self._hash = hashlib.sha256()
        self.add(*values)

    @property
    def digest(self) -> str:
        """Of all that was added."""
        return self._hash.hexdigest()

    def add(self, *values: object) -> None:
        """One value, or several."""
        for value in values:
            self._add(value, 0)

    def _add(self, value: object, depth: int) -> None:
        self._hash.update(f"{type(value).__module__}.{type(value).__qualname__} ".encode())
        if isinstance(value, Tensor):
            self._add_tensor(value.detach())
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self._hash.update(f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, str | bytes | int | float | complex | bool | torch.dtype | torch.device | None):
            self._hash.update(f"{value!r} ".encode())
        elif isinstance(value, Mapping | list | tuple | set | frozenset) and depth < _DEEPEST:
            self._hash.update(f"{len(value)} ".encode())
            for part in _parts(value):
                self._add(part, depth + 1)

    def _add_tensor(self, tensor: Tensor) -> None:
        self._hash.update(f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout} ".encode())
        if tensor.is_quantized:
            self._add(_scheme(tensor), 0)
            tensor = tensor.int_repr()
        if tensor.is_meta:  # it holds nothing
            return
        dense = tensor.to_dense() if tensor.layout is not torch.strided else tensor
        flat = dense.cpu().contiguous().resolve_conj().resolve_neg().reshape(-1)
        self._hash.update(flat.view(torch.uint8).numpy().tobytes())


def _parts(value: Any) -> list[Any]:
    """What a container holds, in an order that is always the same."""
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    return sorted(value, key=repr) if isinstance(value, set | frozenset) else list(value)


def _scheme(tensor: Tensor) -> list[Any]:
    """How the whole numbers of a quantized tensor are read."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [tensor.q_scale(), tensor.q_zero_point()]
    return [tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points(), tensor.q_per_channel_axis()]
