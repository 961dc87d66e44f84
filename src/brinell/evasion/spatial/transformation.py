"""Transformations as a perturbation set: the adversary chooses parameters, and the target renders them.

An image turned by 10 degrees is far from the original in every norm, and no measurement of pixels tells whether an
image could have been reached by turning. So a transformed target takes another input: the example, followed by the
parameters of the transformation, all zero for the example as it is. The adversary may change the parameters and
nothing else. That is an linf ball in a mask over the parameters, so every attack works on it unchanged, and the judge
trusts nobody: it measures the parameters, sees that the example is untouched, and has the target render it afresh.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.targets import Backend, Target
from brinell.threat import Access, Box, Linf
from brinell.threat.masked import Masked
from brinell.types import Inputs, Labels, Logits

Parameters = Float[Tensor, "batch parameters"]


class Transformation(Checked, ABC):
    """A change of inputs with a fixed number of parameters, each in [-1, 1]; all zero is no change."""

    @abstractmethod
    def count(self, shape: tuple[int, ...]) -> int:
        """How many parameters an example of this shape has."""

    @abstractmethod
    def __call__(self, x: Inputs, parameters: Parameters) -> Inputs:
        """x changed, each example by its own row of parameters; differentiable by them. It may leave the box."""


@final
@dataclass(frozen=True)
class Custom(Transformation):
    """A transformation of your own.

    function: (x, parameters in [-1, 1]) -> x, batched and without chance. size: the number of parameters.
    """

    function: Callable[[Inputs, Parameters], Inputs]
    size: int

    def count(self, shape: tuple[int, ...]) -> int:
        return self.size

    def __call__(self, x: Inputs, parameters: Parameters) -> Inputs:
        return self.function(x, parameters)


@final
@dataclass(frozen=True)
class Transformed:
    """A target behind a transformation. shape: that of one example.

    Its inputs are rows (features, parameters); `lift` makes them from examples and `render` gives the images back.
    """

    inner: Target
    transformation: Transformation
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of parameters."""
        return self.transformation.count(self.shape)

    @cached_property
    def target(self) -> Target:
        """The target to be attacked: it renders, clamps to the box, and asks the inner one."""
        blank = torch.zeros(1, *self.shape, dtype=torch.float64)
        low, high = (side.expand(blank.shape).flatten().tolist() for side in self.inner.box.limits(blank))
        box = Box((*low, *[-1.0] * self.count), (*high, *[1.0] * self.count))
        return Target(_Rendering(self), box, access=self.inner.access, chunk=self.inner.chunk)

    def set(self, radius: float = 1.0) -> Masked:
        """Every parameter up to this size, the example untouched."""
        free = torch.arange(prod(self.shape) + self.count) >= prod(self.shape)
        return Masked(free, Linf(radius))

    def lift(self, x: Inputs, parameters: Parameters | None = None) -> Float[Tensor, "batch inputs"]:
        """Examples with their parameters behind them, zero unless given."""
        if tuple(x.shape[1:]) != self.shape:
            raise UsageError(f"an example has shape {tuple(x.shape[1:])}; this target was transformed for {self.shape}")
        parameters = x.new_zeros(len(x), self.count) if parameters is None else parameters
        return torch.cat([x.flatten(1), parameters], 1)

    def parameters(self, lifted: Float[Tensor, "batch inputs"]) -> Parameters:
        """What the adversary chose."""
        return lifted[:, prod(self.shape) :]

    def render(self, lifted: Float[Tensor, "batch inputs"]) -> Inputs:
        """The inputs that the inner target sees, in its units and its box; untouched where no parameter is set."""
        x = lifted[:, : prod(self.shape)].unflatten(1, self.shape)
        parameters = self.parameters(lifted)
        return self.inner.box.clamp(self.transformation(x, parameters))


@final
class _Rendering(Backend):
    def __init__(self, transformed: Transformed) -> None:
        self.transformed = transformed
        inner = transformed.inner
        self.access = min(inner.backend.access, Access.GRADIENTS)
        self.classes = inner.classes

    def scores(self, x: Inputs) -> Logits:
        return self.transformed.inner.answer(self.transformed.render(x))

    def labels(self, x: Inputs) -> Labels:
        return self.transformed.inner.labels(self.transformed.render(x))

    def digest(self) -> str:
        about = f"{self.transformed.inner.digest} {self.transformed.transformation} {self.transformed.shape}"
        return hashlib.sha256(about.encode()).hexdigest()

    def describe(self) -> str:
        return f"{self.transformed.inner.describe()} after {type(self.transformed.transformation).__name__}"

    def copy(self) -> "_Rendering":
        return _Rendering(
            Transformed(self.transformed.inner.copy(), self.transformed.transformation, self.transformed.shape)
        )
