"""Engines that settle both ways: the nearest adversarial input there is, a witness and a certificate at once.

The two are believed for different reasons. The witness is a candidate like any other, and goes before the judge. The
certificate rests on the engine, which reads the model; where the judge refuses the witness, the certificate stays.
"""

from typing import TypeVar

import torch

from brinell.auditing.work import Checkpoint, Engine, Shard, ShardResult
from brinell.evasion import Found
from brinell.evidence import Certificate, Witness, judge
from brinell.proofs import Exact, Nearest
from brinell.questions.evasion.engines import opinion
from brinell.targets import Target
from brinell.threat import Threat
from brinell.types import Inputs, Labels

Model = TypeVar("Model")


def settle(
    exact: Exact[Model],
    model: Model,
    target: Target,
    x: Inputs,
    y: Labels,
    threat: Threat,
    checkpoint: Checkpoint = lambda: None,
) -> tuple[Found, Nearest]:
    """(what an attack would have found, with what the judge says of it; what was shown). threat: within the box."""
    seen = target.restrict(threat.access)
    aims = threat.goal.aims(y, seen.scores(x))
    nearest = exact(model, x, y, threat.set, aims, seen.scores, checkpoint)
    broken, distance = judge(seen, threat.set, x, nearest.x, y, aims)
    broken &= nearest.distance.isfinite()
    queries = 1 + nearest.asked + broken.long()
    witness = torch.where(broken.reshape(-1, *(1,) * (x.dim() - 1)), nearest.x, x)
    return Found(witness, broken, distance.where(broken, torch.inf), queries, torch.zeros_like(queries)), nearest


def settling(exact: Exact[Model], model: Model, label: str, threat: Threat) -> Engine:
    """An exact search as an engine."""

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        found, nearest = settle(exact, model, target, shard.x, shard.y, threat, checkpoint)
        rows = found.broken.nonzero().flatten().tolist()
        outcome = ShardResult(forwards=int(found.queries.sum()))
        if rows:
            x = found.x[rows]
            outcome.evidence += [
                Witness(shard.items[row], label, float(found.distance[row]), i, *said)
                for i, (row, said) in enumerate(zip(rows, opinion(target, x), strict=True))
            ]
            outcome.tensors = {"x": x, "x0": shard.x[rows]}
        outcome.evidence += [
            Certificate(item, label, radius, margin, soundness)
            for item, radius, margin, soundness in zip(
                shard.items, nearest.certified.tolist(), nearest.margin.tolist(), nearest.soundness, strict=True
            )
            if radius >= 0
        ]
        return outcome

    return engine
