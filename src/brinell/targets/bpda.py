"""Backward pass differentiable approximation: gradients through a preprocessing that has none.

Source: Athalye et al. 2018, arXiv:1802.00420, section 4.1.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import Function


@final
class BPDA(nn.Module):
    """A preprocessing whose answers are exact and whose gradients are those of a stand-in.

    preprocess: (batch, *shape) to whatever the network takes; any code, for it is never differentiated. stand_in: a
    differentiable function close to it, with answers of the same shape; None is the identity. Put it in front of the
    network, `nn.Sequential(BPDA(preprocess), network)`, and wrap that as a target.
    """

    def __init__(
        self, preprocess: Callable[[Tensor], Tensor], stand_in: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.stand_in = stand_in

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            exact = self.preprocess(x)
        near = x if self.stand_in is None else self.stand_in(x)
        if near.shape != exact.shape:
            raise ValueError(f"the stand-in answers {tuple(near.shape)}, the preprocessing {tuple(exact.shape)}")
        answer: Tensor = _Instead.apply(exact, near)  # type: ignore[no-untyped-call]
        return answer


class _Instead(Function):
    """The first argument; its gradient goes to the second."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, near: Tensor) -> Tensor:
        return exact.to(near.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]
