"""The model under test: what it shows, in which units, and how often it was asked."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar, final

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from brinell.arguments import Checked, a_kind, checked
from brinell.errors import BrinellError, UsageError
from brinell.targets.backend import Backend
from brinell.targets.generators import generators_kept
from brinell.threat import Access, Box
from brinell.types import Inputs, Jacobian, Labels, Logits, Scores

Scale = float | Sequence[float] | Tensor | None
Ask = Callable[[Inputs, slice], tuple[Tensor, ...]]

CHUNK = 128
"""Most rows a forward pass: small enough that a small network's activations stay in a core's cache."""

CELLS = 2**19
"""Most input values a forward pass, for the same reason and to bound memory: 3 rows of 224 x 224 pixels in colour."""


def _nothing() -> None:
    """The checkpoint of a target that nobody watches."""


class TargetError(BrinellError, RuntimeError):
    """The model raised on some row of a batch. Not the user's mistake and not a verdict: the row is an `error`."""


@final
@dataclass
class Meter:
    """What a target was asked: rows that went forward, and rows whose input gradient was taken."""

    forwards: int = 0
    gradients: int = 0


@final
class Target(Checked):
    """A model seen through an access, with its normalisation inside, so that inputs are in the user's units.

    mean, std: a number, or one a channel (the first axis of an example); the model sees (x - mean) / std.
    chunk: most rows in one pass, fewer where inputs are large; it bounds memory and changes no result beyond rounding.
    max_access: the most that may be seen of it; access: what is seen, which the model itself may limit further.
    checkpoint: called before each pass; what it raises passes through.

    The model is handed inputs of its own: normalised, in the precision that it computes in, whatever theirs is, and a
    copy, so that it may write into them. What it answers is copied too, as it may write there again. The global
    generators are after each call what they were before: a model that draws gives one call the draws of the next.
    """

    instead: ClassVar[str] = "make it one: brinell.target(model)"

    def __init__(
        self,
        backend: Backend,
        box: Box,
        *,
        mean: Scale = None,
        std: Scale = None,
        access: Access | None = None,
        chunk: int = CHUNK,
        checkpoint: Callable[[], None] = _nothing,
    ) -> None:
        self.backend = backend
        self.box = box
        self.mean = _scale(mean, "mean")
        self.std = _scale(std, "std")
        if self.std is not None and not (self.std > 0).all():
            raise UsageError(f"std is {self.std.tolist()}; it must be positive")
        self.max_access = Access.WEIGHTS if access is None else access
        self.access = min(self.max_access, backend.access)
        self.chunk = chunk
        self.checkpoint = checkpoint
        self.meter = Meter()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The model's own names of its classes, in the order of its scores."""
        return self.backend.classes

    @property
    def features(self) -> tuple[str, ...] | None:
        """The model's own names of its inputs, in their order."""
        return self.backend.features

    @cached_property
    def digest(self) -> str:
        """A hash of all that the answers depend on: weights, structure, normalisation, box and access."""
        scale = [None if s is None else s.tolist() for s in (self.mean, self.std)]
        about = f"{self.backend.digest()} {scale} {self.box} {self.access.name}"
        return hashlib.sha256(about.encode()).hexdigest()

    def describe(self) -> str:
        return self.backend.describe()

    def seen(self, x: Inputs) -> Inputs:
        """A copy in the precision that the model computes in, not yet normalised: what verifiers read it on."""
        return x.to(self.backend.dtype or x.dtype, copy=True)

    @checked()
    def restrict(self, access: Access) -> "Target":
        """The same model through a lower access, with a meter of its own: LABELS is a true black box."""
        return self._with(access=min(access, self.max_access))

    def rescaled(self, unit: float) -> "Target":
        """The same model of inputs that are divided by `unit`, a power of two, with a meter of its own.

        Its answers are the same to the last bit, and a gradient is `unit` times as long.
        """
        if unit == 1:
            return self
        mean = None if self.mean is None else self.mean / unit
        std = torch.ones((), dtype=torch.float64) if self.std is None else self.std
        return self._with(box=self.box.rescaled(unit), mean=mean, std=std / unit)

    def copy(self) -> "Target":
        """The same model for a second thread, with a meter of its own."""
        return self._with(backend=self.backend.copy())

    def watched(self, checkpoint: Callable[[], None]) -> "Target":
        """The same model with the same meter, and `checkpoint` called before each pass in place of its own."""
        watched = self._with(checkpoint=checkpoint)
        watched.meter = self.meter
        return watched

    def _with(self, **changed: Any) -> "Target":
        """This target with other arguments, and a meter of its own."""
        names = ("backend", "box", "mean", "std", "chunk", "checkpoint")
        return Target(**{"access": self.max_access} | {name: getattr(self, name) for name in names} | changed)

    def labels(self, x: Inputs) -> Labels:
        """The decisions."""
        return self._in_chunks(Access.LABELS, lambda part, _: (self._run(self.backend.labels, part),), x)[0]

    def scores(self, x: Inputs) -> Logits:
        """One score a class."""
        return self._in_chunks(Access.SCORES, lambda part, _: (self._run(self.backend.scores, part),), x)[0]

    @generators_kept()
    def answer(self, x: Inputs) -> Logits:
        """Scores in one pass, as part of a larger computation: differentiable where the caller's gradients are on."""
        self._allow(Access.SCORES)
        check_inputs(x)
        return self._run(self.backend.scores, x)

    def gradient(self, x: Inputs, objective: Callable[[Logits, slice], Scores]) -> tuple[Logits, Scores, Inputs]:
        """(scores, objective, its gradient by x), from one forward and one backward pass.

        objective gets the scores of a chunk and the rows they belong to, and returns one number a row.
        """

        def ask(leaf: Inputs, rows: slice) -> tuple[Tensor, ...]:
            scores = self._run(self.backend.scores, leaf)
            value = objective(scores, rows)
            return scores.detach(), value.detach(), _gradient(value, leaf)

        scores, value, g = self._in_chunks(Access.GRADIENTS, ask, x)
        self.meter.gradients += len(x)
        return scores, value, g

    def jacobian(
        self, x: Inputs, classes: Int64[Tensor, "batch classes"], against: Labels | None = None
    ) -> tuple[Logits, Jacobian]:
        """(scores, the gradient by x of the score of each of these classes): one forward pass, a backward pass each.

        against: a class an example, whose score is taken off first.
        """

        def ask(leaf: Inputs, rows: slice) -> tuple[Tensor, ...]:
            scores = self._run(self.backend.scores, leaf)
            wanted = scores.gather(1, classes[rows])
            if against is not None:
                wanted = wanted - scores.gather(1, against[rows].unsqueeze(1))
            each = [_gradient(wanted[:, k], leaf, again=True) for k in range(wanted.shape[1])]
            return scores.detach(), torch.stack(each, 1)

        scores, jacobian = self._in_chunks(Access.GRADIENTS, ask, x)
        self.meter.gradients += classes.numel()
        return scores, jacobian

    def module(self) -> nn.Module:
        """Normalisation and network as one module, for verifiers."""
        self._allow(Access.WEIGHTS)
        if self.mean is None and self.std is None:
            return self.backend.module()
        return nn.Sequential(Normalise(self.mean, self.std), self.backend.module()).eval()

    @generators_kept()
    def _in_chunks(self, needed: Access, ask: Ask, x: Inputs) -> tuple[Tensor, ...]:
        """What `ask` makes of each chunk of x and its rows, joined: the one place where a batch is cut up.

        Where gradients are needed each chunk is a leaf that they may be taken by.
        """
        self._allow(needed)
        check_inputs(x)
        grad = needed >= Access.GRADIENTS
        with torch.set_grad_enabled(grad):
            answers = [ask(x[rows].detach().requires_grad_(grad), rows) for rows in _chunks(x, self.chunk)]
        return answers[0] if len(answers) == 1 else tuple(map(torch.cat, zip(*answers, strict=True)))

    def _run(self, ask: Callable[[Inputs], Tensor], x: Inputs) -> Tensor:
        self.checkpoint()
        self.meter.forwards += len(x)
        try:
            return ask(self._given(x)).clone()
        except (UsageError, TargetError):
            raise
        except Exception as error:
            raise _raised(error) from error

    def _given(self, x: Inputs) -> Inputs:
        """What the model gets: its own to spoil."""
        normalised = _normalise(x, self.mean, self.std)
        return normalised.to(self.backend.dtype or x.dtype, copy=normalised is x)

    def _allow(self, needed: Access) -> None:
        if self.access < needed:
            raise UsageError(f"the target shows {self.access.name}; this needs {needed.name}")


@final
class Normalise(nn.Module):
    """(x - mean) / std as a module, so that a verifier sees it."""

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, mean: Tensor | None, std: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Inputs) -> Inputs:
        return _normalise(x, self.mean, self.std)


def check_inputs(x: object) -> None:
    """Refuse what no model takes: anything but a batch of float32 or float64 numbers."""
    if not isinstance(x, Tensor):
        raise UsageError(f"x is {a_kind(x)}; give a tensor of floats, (examples, *features)")
    if x.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"x holds {x.dtype} values; give float32 or float64 in the target's box, e.g. x.float() / 255")
    if x.dim() < 2:
        raise UsageError(f"x has shape {tuple(x.shape)}; it must be (examples, *features)")


def _gradient(value: Scores, leaf: Inputs, again: bool = False) -> Inputs:
    """The gradient of the sum of value by leaf; zero where it does not depend on it, which preflight reports.

    again: more will be asked of the same forward pass.
    """
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    try:
        (g,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True, retain_graph=again)
    except Exception as error:
        raise _raised(error) from error
    return torch.zeros_like(leaf) if g is None else g


def _raised(error: Exception) -> TargetError:
    """What the user's model raised, in one line."""
    return TargetError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def _normalise(x: Inputs, mean: Tensor | None, std: Tensor | None) -> Inputs:
    if mean is not None:
        x = x - _over_channels(mean, x)
    if std is not None:
        x = x / _over_channels(std, x)
    return x


def _over_channels(value: Tensor, x: Inputs) -> Tensor:
    value = value.to(x)
    return value if value.dim() == 0 else value.reshape(-1, *(1,) * (x.dim() - 2))


def _scale(value: Scale, name: str) -> Tensor | None:
    if value is None:
        return None
    tensor = torch.as_tensor(value, dtype=torch.float64)
    if tensor.dim() > 1 or not tensor.isfinite().all():
        raise UsageError(f"{name} is {value!r}; it must be a number, or one a channel")
    return tensor


def _chunks(x: Inputs, most: int) -> list[slice]:
    """Slices of at most so many rows, and at most CELLS values unless one row has more."""
    size = max(1, min(most, CELLS // max(1, prod(x.shape[1:]))))
    return [slice(i, min(i + size, len(x))) for i in range(0, max(len(x), 1), size)]
