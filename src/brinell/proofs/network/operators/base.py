"""What an operator must know about itself, so that no algorithm has to know which operator it meets.

An affine operator is its own linear bound. A nonlinearity (a ReLU, a maximum, a sigmoid) has one only between two
limits. A new operator is a new small file with one of the two; a new algorithm asks only these questions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Values = Float[Tensor, "batch ..."]
"""What a node holds, one row an example."""

Interval = tuple[Values, Values]
"""(lowest, highest) value of a node."""

Coefficients = Float[Tensor, "batch rows ..."]
"""Linear functionals of a node's value, `rows` of them an example."""

Constants = Float[Tensor, "batch rows"]

Neurons = Bool[Tensor, "batch ..."]
"""Some of a node's values."""

Choices = Float[Tensor, "batch *choices"]
"""Free parameters, each in [0, 1]."""

RowChoices = Float[Tensor, "batch rows *choices"]
"""A set of them for each functional, or one for all (rows = 1)."""

Slope = Literal["adaptive", "same"]
"""How a nonlinearity first chooses its lower bound: the one of least area, or the one parallel to the upper bound."""


@dataclass(frozen=True, eq=False)
class Linearised(ABC):
    """A function bounded from below, in every direction, by a linear one."""

    @abstractmethod
    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        """((a_1, …), c) with <a, f(x_1, …)> >= <a_1, x_1> + … + c; one a_i an input. Differentiable."""


class Onward(Linearised):
    """A function bounded by linear ones on both sides, so that linear forms can be carried forward through it."""

    @abstractmethod
    def ahead(self, *forms: Interval, offset: bool) -> Interval:
        """Forms below and above the inputs, `rows` of them an example, as forms below and above the value.

        offset: whether they are constants, which the function's own constants add to, or coefficients, which they
        leave alone.
        """


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A function of one or more node values."""

    @abstractmethod
    def forward(self, *inputs: Values) -> Values:
        """The value."""

    @abstractmethod
    def interval(self, *inputs: Interval) -> Interval:
        """Bounds on the value, given bounds on the inputs."""

    @property
    def terms(self) -> int:
        """How many products are added up into one coefficient, at most, as functionals are carried back."""
        return 1

    @property
    def summands(self) -> int | None:
        """How many products are added up into one value, at most: 0 where values are only moved, None if not known."""
        return None


class Affine(Operator, Onward):
    """An affine operator; `backward` is exact: the transpose of the linear part, and <a, offset>.

    mixes: whether an output depends on several input values, so that their bounds add up. Unless values are only moved
    (`summands` is 0), `forward` and `spread` return tensors of their own.
    """

    mixes: ClassVar[bool]

    @abstractmethod
    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        """How far the value may move where the inputs move by up to these: the absolute values of the linear part.

        share: by which all of them are taken larger; that of the offset's size is added.
        """

    def interval(self, *inputs: Interval) -> Interval:
        """What becomes of the middle and of the half-width (Gowal et al. 2018, arXiv:1810.12715, eq. 6).

        It is affine in the two ends together, W+ low + W- high + offset, whichever of them is larger.
        """
        if self.summands == 0:
            lows, highs = zip(*inputs, strict=True)
            return self.forward(*lows), self.forward(*highs)
        middle = self.forward(*((high + low).mul_(0.5) for low, high in inputs))
        half = self.abs_forward(*((high - low).mul_(0.5) for low, high in inputs))
        return middle - half, middle.add_(half)

    def ahead(self, *forms: Interval, offset: bool) -> Interval:
        low, high = self.interval(*((low.flatten(0, 1), high.flatten(0, 1)) for low, high in forms))
        if not offset:
            still = self.forward(*(low.new_zeros(1, *low.shape[2:]) for low, _ in forms))
            low, high = low - still, high - still
        shape = (*forms[0][0].shape[:2], *low.shape[1:])
        return low.reshape(shape), high.reshape(shape)

    def linear(self, *rows: Coefficients) -> Coefficients:
        """What the value changes by where the inputs change by each of these rows."""
        still = self.forward(*(part.new_zeros(1, *part.shape[2:]) for part in rows))
        moved = self.forward(*(part.flatten(0, 1) for part in rows)) - still
        return moved.reshape(*rows[0].shape[:2], *moved.shape[1:])


class Nonlinearity(Operator):
    """An operator of one input that is not affine. One of two values, such as a product, reads them stacked.

    exact: whether floats compute it without any rounding, as they do a maximum.
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def unknown(self, low: Values, high: Values) -> Neurons:
        """The inputs whose bounds are worth improving: where the operator is not known to be affine."""

    @abstractmethod
    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """A first choice of the lower bound; every choice is valid. Empty where there is none."""

    @abstractmethod
    def relax(self, low: Values, high: Values, choices: RowChoices) -> Onward:
        """The linear bound valid for low <= x <= high. Differentiable by `choices`."""

    @abstractmethod
    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """The error of the output's coefficients that stands for `error` of the input's: see `rounding.at_node`.

        Slopes pass it on; what they make of the input is rounded by a share `step` of itself, and the sum of the
        constants by a share `constant`. With neither, how far the output moves where the input moves by `error`.
        """


def more(sizes: Tensor, offset: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
    """These sizes of the linear part, larger by this share, and the share of the offset's; both as they are without.

    The share is of no less than 2^-60, which is more than underflow takes from any but a huge sum.
    """
    return (sizes * (1 + share), (offset.abs() + 2.0**-60) * share) if share else (sizes, None)


def magnitude(interval: Interval) -> Values:
    """The largest absolute value of each."""
    return torch.maximum(interval[0].abs(), interval[1].abs())


def inner(a: Coefficients, values: Tensor) -> Constants:
    """<a, values>, where the values broadcast against a functional."""
    return (a * values).flatten(2).sum(2)
