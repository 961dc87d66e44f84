"""Examples fit to be asked about: checked once, where they enter."""

from contextlib import suppress

import torch

from brinell.errors import UsageError
from brinell.targets.target import Target, TargetError, check_inputs
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels


def check_examples(target: Target, x: Inputs, y: Labels, threat: Threat) -> None:
    """Refuse examples that no verdict could be given on. Raises UsageError naming the argument and its value."""
    check_inputs(x)
    if x.numel() == 0:
        raise UsageError(f"x is empty: its shape is {tuple(x.shape)}; give at least one example")
    if y.shape != (len(x),):
        raise UsageError(f"y has shape {tuple(y.shape)} for {len(x)} examples; it must be ({len(x)},)")
    if y.dtype != torch.int64:
        raise UsageError(f"y holds {y.dtype} values; give class indices as int64, e.g. y.long()")
    if not x.isfinite().all():
        row = int((~x.flatten(1).isfinite().all(1)).nonzero()[0])
        raise UsageError(f"x holds NaN or inf, first in row {row}; remove or mend those rows")
    outside = ~target.box.contains(x)
    if outside.any():
        raise UsageError(
            f"{int(outside.sum())} of {len(x)} examples leave the box [{target.box.low}, {target.box.high}]: "
            f"x ranges over [{float(x.min()):g}, {float(x.max()):g}]; " + _box_hint(x)
        )
    lawless = ~threat.set.contains(x, x)
    if lawless.any():
        raise UsageError(
            f"{int(lawless.sum())} of {len(x)} examples break the rules of the set {threat.set.name!r} as they are, "
            f"first in row {int(lawless.nonzero()[0])}; mend the rules or leave those rows out"
        )
    if threat.set.radius < float("inf") and float(threat.set.radius) > _widest(target, x, threat):
        raise UsageError(f"radius {threat.set.radius:g} is larger than the box allows; give a smaller one")
    classes = len(target.classes) if target.classes else _count_classes(target, x)
    if int(y.min()) < 0 or (classes is not None and int(y.max()) >= classes):
        raise UsageError(
            f"y holds labels {int(y.min())} to {int(y.max())}; "
            f"the model has {'classes from 0' if classes is None else f'classes 0 to {classes - 1}'}"
        )


def _box_hint(x: Inputs) -> str:
    if 2 < float(x.max()) <= 255 and float(x.min()) >= 0:
        return "divide by 255, or give box=(0, 255)"
    return "give the box these values live in, and mean and std to the target if they were normalised"


def _widest(target: Target, x: Inputs, threat: Threat) -> float:
    if not target.box.bounded:
        return float("inf")
    corner = x[:1].new_zeros(x[:1].shape)
    low, high = target.box.limits(corner)
    return float(threat.set.distance(corner + low, corner + high)[0])


def _count_classes(target: Target, x: Inputs) -> int | None:
    """From one answer, where scores are seen: it costs one query."""
    if target.access < Access.SCORES:
        return None
    asked = target.restrict(Access.SCORES)
    try:
        return asked.scores(x[:1]).shape[1]
    except TargetError as error:
        for row in range(1, len(x)):
            with suppress(TargetError):
                return asked.scores(x[row : row + 1]).shape[1]
        raise UsageError(
            f"the model raises on every example, of shape {tuple(x.shape[1:])}: {error}; "
            "give examples of the shape that it takes, or mend it"
        ) from error
