"""Preflight: what would make the figures of an audit worthless, found before it runs.

Each check looks at answers of the target to a few clean examples, and returns findings: a code, one sentence, a remedy.
"""

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import torch

from brinell.access import Access
from brinell.arguments import checked
from brinell.auditing.finding import Finding, ordered
from brinell.data import Dataset
from brinell.data.pixels import SCALED
from brinell.errors import CannotRun, Inconclusive, UsageError
from brinell.evasion import Objective, margin
from brinell.evidence import wilson
from brinell.targets import Target, TargetError
from brinell.targets.generators import generators_kept
from brinell.targets.torch import TorchBackend
from brinell.types import Inputs, Labels, Logits, Mask, Scores

PROBE = 256
"""Examples a check looks at, at most."""

_SAME = 1e-4
"""Scores that differ by more than this share of their size are different answers."""

_TIES = 0.05
"""The share of decisions that may be others than the largest score, as votes are of which scores are made."""

_FATAL = ("outside-box", "classes")
"""Findings that no audit can go on with, accepted or not."""

_FEW = 16
"""Examples looked at however slow the model is."""

_ASKED = 8
"""Passes that a preflight makes over its examples, about."""

UNCHECKED = "unchecked"
"""The code of the finding that says that others may be missing."""

_FLAT_SHARE = 0.05
"""The share of zero gradients from which the gradient attacks are not to be believed."""


@checked()
@generators_kept()
def check(target: Target, data: Dataset) -> list[Finding]:
    """All findings on the examples, severe ones first."""
    return ordered(look(target, data))


def look(target: Target, data: Dataset, seconds: float | None = None) -> Iterator[Finding]:
    """The same one by one, as they are seen. seconds: to look for, of a model so slow that only a few examples fit."""
    data = data.meeting(target.classes, target.features, target.box)
    size = PROBE if seconds is None else _affordable(target, data, seconds)
    probe = data.take(size, seed=0, balanced=True)
    if size < min(PROBE, len(data)):
        yield cut_short()
    x, y = probe.x, probe.y
    yield from _on_data(target, data)
    seen: list[Finding] = []
    try:
        for f in _on_answers(target, x, y):
            seen.append(f)
            yield f
    except TargetError as error:
        good = _which(target, x)
        yield _on_errors(good, error)
        if good.any() and not good.all():
            with contextlib.suppress(TargetError):  # it is said already
                yield from (f for f in _on_answers(target, x[good], y[good]) if f not in seen)


def cut_short() -> Finding:
    """What is said where there was no time to look at everything."""
    return _warning(
        UNCHECKED,
        "the budget did not suffice for the whole preflight: what it would have found is not known",
        "give it more time, or a faster model",
    )


def accept(findings: Sequence[Finding], accepted: Collection[str]) -> list[Finding]:
    """The findings with those accepted by code marked.

    Raises Inconclusive if a severe one is left, UsageError for one that cannot be accepted.
    """
    for f in findings:
        if f.code in _FATAL:
            raise UsageError(f"{f.code}: {f.message}; {f.remedy}")
    marked = [f.model_copy(update={"accepted": f.code in accepted}) for f in findings]
    left = [f for f in marked if f.severity == "severe" and not f.accepted]
    if left:
        first = left[0]
        raise Inconclusive(
            f"{first.code}: {first.message}; {first.remedy}, or go on with --accept {first.code}, in Python "
            f"accept={tuple(f.code for f in left)!r}"
            + (f" (and {', '.join(f.code for f in left[1:])})" if left[1:] else "")
        )
    return marked


def answered(target: Target, data: Dataset) -> Inputs:
    """Some examples that the target answers, at most a chunk. Raises CannotRun if it answers none."""
    x = data.take(target.chunk, seed=0).x
    if not answers(target, x):
        x = x[_which(target, x)]
    if not len(x):
        raise CannotRun("the model raises on every example; mend it first")
    return x


def answers(target: Target, x: Inputs) -> bool:
    """Whether the target says something of all of x: it does not raise."""
    with contextlib.suppress(TargetError):
        target.restrict(Access.SCORES).labels(x)
        return True
    return False


def seconds_per_row(target: Target, x: Inputs) -> tuple[float, float]:
    """(forward, forward and input gradient): measured seconds a row; the second is NaN where gradients are not seen."""
    y = torch.zeros(len(x), dtype=torch.int64)
    ask = target.restrict(target.access)
    if ask.access < Access.SCORES:
        return _timed(lambda: ask.labels(x)) / len(x), float("nan")
    forward = _timed(lambda: ask.scores(x)) / len(x)
    if ask.access < Access.GRADIENTS:
        return forward, float("nan")
    with contextlib.suppress(TargetError):
        return forward, _timed(lambda: ask.gradient(x, _bound(margin, y))) / len(x)
    return forward, float("nan")


def _affordable(target: Target, data: Dataset, seconds: float) -> int:
    """How many examples can be looked at in this time; a few always are."""
    x = data.x[:_FEW]
    size = 0
    for _ in range(2):  # a first pass may have to warm up
        start = time.perf_counter()
        answers(target, x)
        each = max((time.perf_counter() - start) / len(x), 1e-9)
        size = max(size, int(min(PROBE, max(_FEW, seconds / (_ASKED * each)))))
        if size == PROBE:
            break
    return size


def _on_data(target: Target, data: Dataset) -> Iterator[Finding]:
    low, high = float(data.x.min()), float(data.x.max())
    box = target.box
    outside = int((~box.contains(data.x)).sum())
    if outside:
        yield _severe(
            "outside-box",
            f"{outside} of {len(data)} examples leave the box [{box.low}, {box.high}]: they range over "
            f"[{low:g}, {high:g}]",
            ("divide by 255, or " if low >= 0 and 2 < high <= 255 else "")
            + "give the box the inputs live in with --box, and --mean and --std if they were normalised",
        )
    elif box.bounded and high - low < box.width / 32:
        yield _warning(
            "narrow-range",
            f"the inputs span [{low:g}, {high:g}], a small part of the box [{box.low}, {box.high}]",
            "check the scale: a radius is in the units of the input",
        )
    if data.scaling == SCALED:
        yield _note("pixels", "pixels of 0 to 255 were divided by 255", "give the radius as a fraction, such as 8/255")
    if len(data) < 100:
        yield _note(
            "small-sample",
            f"{len(data)} examples leave up to {100 * _half_width(len(data)):.0f} points of sampling error",
            "give more examples for a narrower interval",
        )
    if isinstance(target.backend, TorchBackend) and target.backend.was_training:
        yield _note(
            "training-mode",
            "the module was handed over in training mode; a copy of it was switched to eval",
            "nothing to do, unless it is deployed in training mode",
        )


def _on_errors(good: Mask, error: TargetError) -> Finding:
    n, failed = len(good), int((~good).sum())
    message = (
        f"the model raises on {failed} of {n} examples: {error}"
        if failed
        else f"the model raises on a batch of {n}, though on no single example: {error}"
    )
    return (_warning if 0 < failed < n else _severe)("raises", message, "mend the model, or leave those out")


def _which(target: Target, x: Inputs) -> Mask:
    """Which examples the target answers, each alone."""
    return torch.tensor([answers(target, x[row : row + 1]) for row in range(len(x))])


def _on_answers(target: Target, x: Inputs, y: Labels) -> Iterator[Finding]:
    ask = target.restrict(target.access)
    predicted = ask.labels(x)
    yield from _on_accuracy(ask, x, y, predicted)
    if ask.access < Access.SCORES:
        if (ask.labels(x) != predicted).any():
            yield _random()
        return
    scores = ask.scores(x)
    bad = ~scores.isfinite().all(1)
    if bad.any():
        yield _finding_non_finite(int(bad.sum()), len(x), bool(bad.all()))
        if bad.all():
            return
    x, y, predicted, scores = x[~bad], y[~bad], predicted[~bad], scores[~bad]
    yield from _on_consistency(ask, x, predicted, scores)
    yield from _on_classes(scores, y)
    if ask.access >= Access.GRADIENTS:
        yield from _on_gradients(ask, x, y, scores)


def _on_accuracy(ask: Target, x: Inputs, y: Labels, predicted: Labels) -> Iterator[Finding]:
    accuracy = float((predicted == y).float().mean())
    present = len(y.unique())
    if present < 2 or not _near_chance(int((predicted == y).sum()), len(y), 1 / present):
        return
    message = f"accuracy is {accuracy:.0%} on {len(x)} examples of {present} classes, near chance"
    own = [predicted[y == c] for c in y.unique()]
    modes = [int(p.mode().values) for p in own]
    aligned = sum(float((p == mode).float().mean()) for p, mode in zip(own, modes, strict=True)) / present
    permuted = aligned > 0.7 and len(set(modes)) == present and len(x) >= 5 * present
    remedy = "check the normalisation (--mean, --std), the scale of the inputs, and that these labels are the model's"
    if permuted:
        remedy = "the classes look permuted: put the labels in the order of the model's outputs"
    else:
        for name, scaled in (("multiplied by 255", x * 255), ("divided by 255", x / 255)):
            try:
                better = float((ask.labels(scaled) == y).float().mean())
            except TargetError:
                continue
            if better > max(2 * accuracy, 0.3):
                remedy = f"accuracy is {better:.0%} on inputs {name}: mend the scale with --mean and --std, or the data"
    yield _severe("low-accuracy", message, remedy)


def _near_chance(correct: int, n: int, chance: float) -> bool:
    """Little better than guessing, in a sample large enough to show that it is not good."""
    enough = min(1.5 * chance, chance + 0.1 * (1 - chance))
    return correct / n <= enough and wilson(correct, n)[1] < (1 + chance) / 2


def _on_consistency(ask: Target, x: Inputs, predicted: Labels, scores: Logits) -> Iterator[Finding]:
    size = scores.abs().amax().clamp(min=torch.finfo(scores.dtype).tiny)
    if float((ask.scores(x) - scores).abs().amax() / size) > _SAME:
        yield _memory() if _is_changed(ask) else _random()
        return
    batch = x[: ask.chunk]  # one batch in either order, so that only what came before differs
    first, turned, again = ask.scores(batch), ask.scores(batch.flip(0)).flip(0), ask.scores(batch)
    if float(torch.stack([turned - first, again - first]).abs().amax() / size) > 10 * _SAME:
        yield _memory()
        return
    disagree = int((predicted != scores.argmax(1)).sum())
    if disagree:
        message = f"the model's decision is not its largest score on {disagree} of {len(x)} examples"
        remedy = "audit what is deployed: its decisions with --access labels, or its scores"
        yield (_severe if disagree > _TIES * len(x) else _warning)("scores-disagree", message, remedy)
    few = x[: max(8, len(x) // 4)]  # each is a pass of its own
    alone = torch.cat([ask.scores(few[i : i + 1]) for i in range(len(few))])
    gap = float((alone - ask.scores(few)).abs().amax() / size)
    if gap > 10 * _SAME:
        yield _severe(
            "batch-dependence",
            f"an example's scores change by {gap:.1%} with the others in its batch",
            "switch the model to eval mode; batch statistics belong to training",
        )


def _on_classes(scores: Logits, y: Labels) -> Iterator[Finding]:
    classes, present = scores.shape[1], len(y.unique())
    if int(y.max()) >= classes:
        yield _severe(
            "classes",
            f"labels go up to {int(y.max())}; the model has classes 0 to {classes - 1}",
            "give the labels the model was trained on",
        )
    elif present < classes and len(y) >= 20 * classes:
        yield _note(
            "absent-classes",
            f"only {present} of the model's {classes} classes appear among the labels",
            "nothing to do, unless they should all be there",
        )


def _on_gradients(ask: Target, x: Inputs, y: Labels, scores: Logits) -> Iterator[Finding]:
    if bool((scores >= 0).all() and ((scores.sum(1) - 1).abs() < 1e-4).all()):
        yield _severe(
            "probabilities",
            "the outputs are probabilities, not logits: their saturated gradients make attacks look weak",
            "return the values before the softmax",
        )
    y = y.clamp(max=scores.shape[1] - 1)
    right = scores.argmax(1) == y
    if not right.any():
        return
    _, _, g = ask.gradient(x[right], _bound(margin, y[right]))
    if not g.isfinite().all():
        yield _severe(
            "non-finite-gradients",
            f"{int((~g.flatten(1).isfinite().all(1)).sum())} of {len(g)} input gradients hold NaN or inf",
            "find the operation that divides by zero or overflows; black-box stages still count",
        )
        return
    flat = float((g.flatten(1) == 0).all(1).float().mean())
    if flat > _FLAT_SHARE:
        yield _severe(
            "zero-gradients",
            f"{flat:.0%} of the input gradients are exactly zero: the model is not differentiable where it "
            "is asked, so gradient attacks cannot see",
            "expose the differentiable part, or trust only the black-box stages with --access scores",
        )


def _finding_non_finite(bad: int, n: int, all_of_them: bool) -> Finding:
    message = f"the scores of {bad} of {n} examples hold NaN or inf"
    remedy = "find the overflow in the model; such examples are counted as errors"
    return (_severe if all_of_them else _warning)("non-finite", message, remedy)


def _random() -> Finding:
    return _severe(
        "random",
        "the same input gets different answers: the target draws at random",
        "switch the randomness off, or audit the average it stands for",
    )


def _memory() -> Finding:
    return _severe(
        "memory",
        "an example's scores change with what the model was asked before: it keeps counts, statistics or answers",
        "let `forward` change nothing that it reads; whatever is found would be of a state nobody can return to",
    )


def _is_changed(ask: Target) -> bool:
    """Whether the model is another than it was handed over as: asking it has changed what it holds."""
    return ask.copy().digest != ask.digest


def _bound(objective: Objective, y: Labels) -> Callable[[Logits, slice], Scores]:
    return lambda scores, rows: objective(scores, y[rows], None)


def _timed(work: Callable[[], object]) -> float:
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _half_width(n: int) -> float:
    return 0.98 / math.sqrt(n)


def _severe(code: str, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity="severe", message=message, remedy=remedy)


def _warning(code: str, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, remedy=remedy)


def _note(code: str, message: str, remedy: str) -> Finding:
    return Finding(code=code, severity="note", message=message, remedy=remedy)
