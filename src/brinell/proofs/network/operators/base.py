"""What an operator tells about itself, so that no verifier needs to know which operator it meets.

An affine operator is its own linear bound. A nonlinearity (a ReLU, a maximum, a sigmoid) has one only between two
bounds of its input. A new operator is a new small file with one of the two; a new verifier asks only these methods.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Values = Float[Tensor, "batch ..."]
"""The value of a node, one row an example."""

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
    """A linear relaxation for backward substitution: in every direction it bounds a function from below."""

    @abstractmethod
    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        """((a_1, …), c) with <a, f(x_1, …)> >= <a_1, x_1> + … + c; one a_i an input. Differentiable."""


class TwoSided(Linearised):
    """A linear relaxation from below and from above, through which linear bounds are propagated forward as well."""

    @abstractmethod
    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        """Lower and upper bounds of the inputs, `rows` of them an example, to those of the value.

        They are numbers of one kind: the constants of linear bounds (offset: the relaxation's own constants are added)
        or the coefficients of one variable in them (no offset).
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
        """How many products add up to one coefficient, at most, in a backward substitution."""
        return 1

    @property
    def summands(self) -> int | None:
        """How many products add up to one value, at most: 0 where values are only moved, None if not known."""
        return None


class Affine(Operator, TwoSided):
    """An affine operator; `backward` is exact: the transpose of the linear part, and <a, offset>.

    mixes: whether an output depends on several input values, so that their bounds add up. Unless values are only moved
    (`summands` is 0), `forward` and `abs_forward` return tensors of their own.
    """

    mixes: ClassVar[bool]

    @abstractmethod
    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        """|W| sizes, of the linear part W: the most that the value changes where the inputs change by up to these.

        share: by which all sizes are enlarged; the same share of the offset's size is added.
        """

    def interval(self, *inputs: Interval) -> Interval:
        """W middle + b plus or minus |W| half-width (Gowal et al. 2018, arXiv:1810.12715, eq. 6).

        The lower end is W+ low + W- high + b: affine in the two ends together, also where they are crossed.
        """
        if self.summands == 0:
            lows, highs = zip(*inputs, strict=True)
            return self.forward(*lows), self.forward(*highs)
        middle = self.forward(*((high + low).mul_(0.5) for low, high in inputs))
        half = self.abs_forward(*((high - low).mul_(0.5) for low, high in inputs))
        return middle - half, middle.add_(half)

    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        low, high = self.interval(*((low.flatten(0, 1), high.flatten(0, 1)) for low, high in bounds))
        if not offset:
            still = self.forward(*(low.new_zeros(1, *low.shape[2:]) for low, _ in bounds))
            low = low - still
            high = high - still
        shape = (*bounds[0][0].shape[:2], *low.shape[1:])
        return low.reshape(shape), high.reshape(shape)

    def linear(self, *rows: Coefficients) -> Coefficients:
        """W row, for each of these rows: the change of the value where the inputs change by the row."""
        still = self.forward(*(part.new_zeros(1, *part.shape[2:]) for part in rows))
        moved = self.forward(*(part.flatten(0, 1) for part in rows)) - still
        return moved.reshape(*rows[0].shape[:2], *moved.shape[1:])


class Nonlinearity(Operator):
    """An operator of one input that is not affine. One of two inputs, such as a product, takes them stacked.

    exact: whether floats compute it without rounding, as they do a maximum.
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def unknown(self, low: Values, high: Values) -> Neurons:
        """The inputs whose bounds are worth tightening: where the operator is not affine over them (unstable)."""

    @abstractmethod
    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """Initial slopes (alpha) of the relaxation; every choice in [0, 1] is sound. Empty where there is none."""

    @abstractmethod
    def relax(self, low: Values, high: Values, choices: RowChoices) -> TwoSided:
        """The linear relaxation for low <= x <= high. Differentiable by `choices`."""

    @abstractmethod
    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """The rounding error E of the output from the `error` of the input: see `rounding.at_node`.

        Slopes multiply the error; coefficients are rounded by the share `step` of themselves, sums of constants by the
        share `constant`. With both zero: the most that the output changes where the input changes by `error`.
        """


def more(sizes: Tensor, offset: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
    """(the sizes of a linear part enlarged by this share, the same share of the offset's size); as is for share 0.

    The offset counts for no less than 2^-60, which is more than underflow takes from any but a huge sum.
    """
    return (sizes * (1 + share), (offset.abs() + 2.0**-60) * share) if share else (sizes, None)


def magnitude(interval: Interval) -> Values:
    """The largest absolute value of each."""
    return torch.maximum(interval[0].abs(), interval[1].abs())


def inner(a: Coefficients, values: Tensor) -> Constants:
    """<a, values>, where the values broadcast against a functional."""
    return (a * values).flatten(2).sum(2)
