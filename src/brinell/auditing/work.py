"""One shard of one stage: examples in, evidence out. Stateless, so that any worker may do it, any number of times."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from brinell.evidence import Evidence, Failure, Witness
from brinell.targets import Target, TargetError
from brinell.types import Inputs, Labels

Checkpoint = Callable[[], None]


@final
@dataclass
class ShardResult:
    """What a shard came to. asked: how many of its items were asked about, where not all.

    tensors: what stored evidence refers to by its `row`. forwards, gradients: rows asked of the target.
    """

    evidence: list[Evidence] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    forwards: int = 0
    gradients: int = 0
    seconds: float = 0.0
    asked: int | None = None

    def extend(self, other: "ShardResult") -> None:
        """Add what the rest of the shard came to."""
        shift = len(self.tensors["x"]) if self.tensors else 0
        for e in other.evidence:
            self.evidence.append(_shifted(e, shift))
        self.tensors = {
            name: torch.cat([outcome.tensors[name] for outcome in (self, other) if outcome.tensors])
            for name in self.tensors or other.tensors
        }
        self.forwards += other.forwards
        self.gradients += other.gradients
        self.asked = other.asked if self.asked is None else self.asked + (other.asked or 0)


@final
@dataclass(frozen=True)
class Shard:
    """The items that a stage is asked about at once. items: their numbers. x, y: theirs. seed: of all chance in it."""

    items: Sequence[int]
    x: Inputs
    y: Labels
    seed: int

    def halves(self) -> tuple["Shard", "Shard"]:
        """Two shards with seeds of their own."""
        middle = len(self.items) // 2
        first, second = slice(None, middle), slice(middle, None)
        return (
            Shard(self.items[first], self.x[first], self.y[first], seed_of(self.seed, 0)),
            Shard(self.items[second], self.x[second], self.y[second], seed_of(self.seed, 1)),
        )


Engine = Callable[[Target, Shard, Checkpoint], ShardResult]
"""What is asked about a shard: stateless, so that any worker may do it, any number of times."""


def perform(engine: Engine, target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
    """Run an engine on a shard. Where the target raises, the shard is halved until those at fault stand alone."""
    start = time.perf_counter()
    outcome = _isolate(engine, target, shard, checkpoint)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _isolate(engine: Engine, target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
    try:
        return engine(target, shard, checkpoint)
    except TargetError as error:
        if len(shard.items) == 1:
            return ShardResult([Failure(shard.items[0], "", str(error))])
    outcome = ShardResult()
    for half in shard.halves():
        outcome.extend(_isolate(engine, target, half, checkpoint))
    return outcome


def seed_of(*parts: object) -> int:
    """A seed from the names of what is drawn: the same whatever the order in which work is done."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _shifted(evidence: Evidence, rows: int) -> Evidence:
    return replace(evidence, row=evidence.row + rows) if isinstance(evidence, Witness) else evidence
