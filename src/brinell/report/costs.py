"""Where the time of a question went: a row a stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from brinell.auditing.question import EngineResult


@final
@dataclass(frozen=True)
class TimeShare:
    """A stage with the worker time it took, also on what was cut short, and its share of all, 0 to 1."""

    engine: EngineResult
    seconds: float
    share: float


def shares(engines: Sequence[EngineResult]) -> list[TimeShare]:
    """One a stage; none where no stage has begun."""
    if all(engine.state == "not begun" for engine in engines):
        return []
    taken = [engine.seconds + engine.dropped for engine in engines]
    total = sum(taken)
    return [TimeShare(e, t, t / total if total else 0.0) for e, t in zip(engines, taken, strict=True)]
