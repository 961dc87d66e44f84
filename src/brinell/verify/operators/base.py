"""What an operator must know about itself, so that no algorithm has to know which operator it meets.

An affine operator is its own linear bound. A bend (a ReLU, a maximum) has one only between two limits.
A new operator is a new small file with one of the two; a new algorithm asks only these questions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

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
"""How a bend first chooses its lower bound: the one of least area, or the one parallel to the upper bound."""


@dataclass(frozen=True, eq=False)
class Linearised(ABC):
    """A function bounded from below, in every direction, by a linear one."""

    @abstractmethod
    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        """((a_1, …), c) with <a, f(x_1, …)> >= <a_1, x_1> + … + c; one a_i an input. Differentiable."""


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


class Affine(Operator, Linearised):
    """An affine operator; `backward` is exact: the transpose of the linear part, and <a, offset>.

    mixes: whether an output depends on several input values, so that their bounds add up.
    """

    mixes: ClassVar[bool]


class Bend(Operator):
    """An operator of one input that is not affine."""

    @abstractmethod
    def unknown(self, low: Values, high: Values) -> Neurons:
        """The inputs whose bounds are worth improving: where the operator is not known to be affine."""

    @abstractmethod
    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """A first choice of the lower bound; every choice is valid. Empty where there is none."""

    @abstractmethod
    def relax(self, low: Values, high: Values, choices: RowChoices) -> Linearised:
        """The linear bound valid for low <= x <= high. Differentiable by `choices`."""


def inner(a: Coefficients, values: Tensor) -> Constants:
    """<a, values>, where the values broadcast against a functional."""
    return (a * values).flatten(2).sum(2)
