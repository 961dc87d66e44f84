"""What a verifier is, and the words for asking it."""

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
"""Linear functionals of the scores, `rows` of them an example: what is to be bounded from below."""

Margins = Float64[Tensor, "batch rows"]

Checkpoint = Callable[[], None]
"""Called between pieces of work; it may raise, to stop."""


def nothing() -> None:
    """The checkpoint of a caller in no hurry."""


class Verifier(Checked, ABC):
    """A search for a proof.

    soundness: the strongest level that its bounds serve, once `rounding_error` is taken off. That allows for bounds
    that are substituted back, carried forward as intervals, or read off the network's scores in float64; a verifier
    that rounds otherwise takes off its own rounding, or is `REAL`.
    """

    soundness: ClassVar[Soundness] = Soundness.REAL

    @abstractmethod
    def __call__(
        self, graph: Graph, x0: Inputs, perturbation: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        """Lower bounds on <spec row, scores(x)> over every x in set ∩ box; float64, on the device of x0.

        -inf where nothing is known: a bound that is not a number is never a proof. Exact arithmetic is
        assumed of the network, and rounding in the bounds, some 1e-12 of the scores, is left in: `rounding_error` is
        what both may come to.
        """


def margins(y: Labels, classes: int, aims: Labels | None = None) -> Spec:
    """The rows e_y - e_j for each class j other than y, in order: `classes` - 1 rows an example.

    aims: the one class j of each example that matters; then there is a single row.
    """
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise UsageError(f"labels run from {int(y.min())} to {int(y.max())}; the classes are 0 to {classes - 1}")
    identity = torch.eye(classes, dtype=torch.float64, device=y.device)
    others = torch.arange(classes - 1, device=y.device).unsqueeze(0)
    others = others + (others >= y.unsqueeze(1)) if aims is None else aims.unsqueeze(1)
    return identity[y].unsqueeze(1) - identity[others]


def certified(bounds: Margins) -> Mask:
    """Whether every margin is shown to be positive. Strictly: a tie is a success of the adversary's.

    Raises UsageError on an estimate, which shows nothing.
    """
    check_bounds(bounds)
    return (bounds > 0).all(1)
