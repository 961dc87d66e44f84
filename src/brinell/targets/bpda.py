"""Backward pass differentiable approximation: gradients through a preprocessing that has none.

Source: Athalye et al. 2018, arXiv:1802.00420, section 4.1.
"""

import inspect
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


@final
class BPDA(nn.Module):
    """A preprocessing whose answers are exact and whose gradients are those of a stand-in.

    preprocess: (batch, *shape) to whatever the network takes; any code, for it is never differentiated. stand_in: a
    differentiable function close to it, with answers of the same shape; None is the identity. Put it in front of the
    network, `nn.Sequential(BPDA(preprocess), network)`, and wrap that as a target.
    """

    def __init__(self, preprocess: Function, stand_in: Function | None = None) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.stand_in = stand_in

    def extra_repr(self) -> str:
        """The two functions, as far as they can be told apart: their source, and the values it refers to."""
        return f"{_about(self.preprocess)}, {_about(self.stand_in)}"

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            exact = self.preprocess(x)
        near = x if self.stand_in is None else self.stand_in(x)
        if near.shape != exact.shape:
            raise ValueError(f"the stand-in answers {tuple(near.shape)}, the preprocessing {tuple(exact.shape)}")
        answer: Tensor = _Instead.apply(exact, near)  # type: ignore[no-untyped-call]
        return answer


class _Instead(torch.autograd.Function):
    """The first argument; its gradient goes to the second."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, near: Tensor) -> Tensor:
        return exact.to(near.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]


def _about(function: Function | None) -> str:
    if function is None or isinstance(function, nn.Module):  # a module is listed, with its weights, for itself
        return type(function).__name__
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or not written in Python
        text = repr(getattr(function, "__qualname__", function))
    kept = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return f"{text} {kept}"
