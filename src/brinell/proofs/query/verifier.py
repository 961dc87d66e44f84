"""The interface of a verifier, and its specifications."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.evidence import Soundness, check_bounds
from brinell.proofs.network.graph import Graph
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Labels, Mask

Spec = Float[Tensor, "batch rows classes"]
"""Linear functionals of the scores to bound from below, `rows` of them an example."""

Margins = Float64[Tensor, "batch rows"]

Checkpoint = Callable[[], None]
"""Called between steps of the work; it may raise, to stop."""


def nothing() -> None:
    """The checkpoint of a caller in no hurry."""


class Verifier(Checked, ABC):
    """A method that bounds margins from below.

    soundness: the strongest level at which its bounds less `rounding_error` hold. That term covers bounds by backward
    substitution, by intervals, or from the network's scores in float64; a verifier that rounds otherwise subtracts its
    own rounding error, or declares `REAL`.
    """

    soundness: ClassVar[Soundness] = Soundness.REAL

    @abstractmethod
    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        """Lower bounds on <spec row, scores(x)> over every x in perturbation ∩ box; float64, on the device of x0.

        -inf where nothing is known; a NaN bound proves nothing. The network is taken to compute in exact arithmetic,
        and the rounding of the bounds themselves, some 1e-12 of the scores, is not subtracted: `rounding_error` bounds
        both. Raises UsageError for shapes that do not fit, Unsupported for an operator without a rule.
        """


def margins(y: Labels, classes: int, aims: Labels | None = None) -> Spec:
    """The rows e_y - e_j for each class j other than y, in order: `classes` - 1 rows an example.

    aims: the one class j of each example to compare with; then there is a single row. Raises UsageError for a label
    that is no class.
    """
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise UsageError(f"labels run from {int(y.min())} to {int(y.max())}; the classes are 0 to {classes - 1}")
    identity = torch.eye(classes, dtype=torch.float64, device=y.device)
    others = torch.arange(classes - 1, device=y.device).unsqueeze(0)
    others = others + (others >= y.unsqueeze(1)) if aims is None else aims.unsqueeze(1)
    return identity[y].unsqueeze(1) - identity[others]


def certified(bounds: Margins) -> Mask:
    """Whether every margin is proved to be positive; strictly, as a tie counts for the adversary.

    Raises UsageError on an estimate, which proves nothing.
    """
    check_bounds(bounds)
    return (bounds > 0).all(1)
