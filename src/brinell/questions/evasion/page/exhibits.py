"""The most fragile examples: those that the smallest change breaks, as the ledger keeps them."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from brinell.auditing.ledger import Ledger
from brinell.errors import CannotRun
from brinell.evidence import Look, Witness
from brinell.questions.evasion.answer import EvasionAnswer
from brinell.report.images import Triptych, data_uris, is_image, triptych

MOST = 64
"""Examples shown."""

CHANGES = 5
"""Features shown of an example that is no picture."""


@final
@dataclass(frozen=True)
class Change:
    """One feature of an example, before and after."""

    feature: str
    original: float
    witness: float


@final
@dataclass(frozen=True)
class Exhibit:
    """One broken example. number: its row in the source. It has pictures (three data URIs) or changes, never both.

    before, after: the decision and the confidence in it, of the example and of the witness; None where not known.
    """

    number: int
    label: str
    before: str | None
    before_confidence: float | None
    after: str | None
    after_confidence: float | None
    distance: float
    engine: str
    pictures: tuple[str, ...]
    size: tuple[int, int]
    factor: int
    reduced: bool
    changes: tuple[Change, ...]


@final
@dataclass(frozen=True)
class Gallery:
    """exhibits: nearest witness first. broken: examples with a witness of distance > 0. lost: witnesses that cannot
    be read any more, and why."""

    exhibits: tuple[Exhibit, ...]
    broken: int
    lost: tuple[str, ...]

    @property
    def already_wrong(self) -> bool:
        """Whether there is nothing to show but examples that are misclassified as they are."""
        return bool(self.exhibits) and self.broken == 0

    @property
    def pictures(self) -> bool:
        return any(e.pictures for e in self.exhibits)


def gallery(answer: EvasionAnswer) -> Gallery:
    """The examples broken by the smallest change; where there are none, those misclassified as they are."""
    about = answer.record.entries
    nearest = [w for w in answer.witnesses if w.distance <= answer.radii[-1]]
    moved = [w for w in nearest if w.distance > 0]
    chosen = heapq.nsmallest(MOST, moved or nearest, key=lambda w: (w.distance, w.item))
    with Ledger(answer.record.path, write=False) as ledger:
        arrays, lost = _arrays(ledger, chosen)
    shown = [w for w in chosen if w.item in arrays]
    looks = answer.board.looks
    box = _limits(about.get("box"))
    drawn = {w.item: triptych(*arrays[w.item], box) for w in shown if is_image(arrays[w.item][0].shape)}
    uris = dict(zip(drawn, data_uris(list(drawn.values())), strict=True))
    return Gallery(
        tuple(
            _exhibit(w, looks.get(w.item), about, arrays[w.item], drawn.get(w.item), uris.get(w.item, ()))
            for w in shown
        ),
        len(moved),
        lost,
    )


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def _arrays(ledger: Ledger, witnesses: Sequence[Witness]) -> tuple[dict[int, Pair], tuple[str, ...]]:
    """(original and witness of each item, why others cannot be read): each artifact is read once."""
    arrays: dict[int, Pair] = {}
    lost = []
    for artifact in dict.fromkeys(w.artifact for w in witnesses if w.artifact):
        try:
            tensors = ledger.tensors(artifact)
        except CannotRun as error:
            lost.append(str(error))
            continue
        for w in witnesses:
            if w.artifact == artifact:
                x0, x = (tensors[name][w.row].numpy().astype(np.float64) for name in ("x0", "x"))
                arrays[w.item] = x0, x
    return arrays, tuple(lost)


def _exhibit(
    witness: Witness,
    look: Look | None,
    about: Mapping[str, Any],
    arrays: Pair,
    drawn: Triptych | None,
    pictures: tuple[str, ...],
) -> Exhibit:
    def name(label: int | None) -> str | None:
        classes = about.get("classes")
        return None if label is None else classes[label] if classes and label < len(classes) else str(label)

    return Exhibit(
        number=about["ids"][witness.item],
        label=name(about["y"][witness.item]) or "unknown",
        before=name(look.predicted) if look else None,
        before_confidence=look.confidence if look else None,
        after=name(witness.predicted),
        after_confidence=witness.confidence,
        distance=witness.distance,
        engine=witness.engine,
        pictures=pictures,
        size=drawn.size if drawn else (0, 0),
        factor=drawn.factor if drawn else 1,
        reduced=drawn.reduced if drawn else False,
        changes=() if drawn else _changes(*arrays, about.get("features")),
    )


def _changes(x0: NDArray[np.float64], x: NDArray[np.float64], features: Sequence[str] | None) -> tuple[Change, ...]:
    """The features changed most, largest change first."""
    moved = np.abs(x - x0).ravel()
    rows = [i for i in np.argsort(-moved, kind="stable")[:CHANGES].tolist() if moved[i] > 0]
    return tuple(Change(_feature(i, x0.shape, features), float(x0.flat[i]), float(x.flat[i])) for i in rows)


def _feature(index: int, shape: tuple[int, ...], features: Sequence[str] | None) -> str:
    if features and len(features) == math.prod(shape):
        return features[index]
    return ", ".join(str(int(i)) for i in np.unravel_index(index, shape))


def _limits(box: Any) -> tuple[float, float] | None:
    """The box as one finite range, where it is that."""
    if not isinstance(box, list) or not all(isinstance(side, float) and math.isfinite(side) for side in box):
        return None
    low, high = box
    return low, high
