"""Attacks and proofs as the engines of stages: examples in, evidence out."""

from typing import final

import torch
from torch import Tensor

from brinell.auditing.work import Checkpoint, Engine, Shard, ShardResult
from brinell.evasion import Attack, Clean, Hunt, margin
from brinell.evasion.attack import run as run_attack
from brinell.evidence import Certificate, Failure, Look, Witness
from brinell.proofs import Graph, Verifier, margins, with_soundness
from brinell.targets import Target
from brinell.targets.probabilities import probabilities
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels, Scores


def attacking(attack: Attack, label: str, threat: Threat) -> Engine:
    """An attack as an engine: its judged candidates become witnesses."""

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        rng = torch.Generator(shard.x.device).manual_seed(shard.seed)
        found = run_attack(attack, target, shard.x, shard.y, threat, rng, checkpoint)
        outcome = ShardResult(forwards=int(found.queries.sum()), gradients=int(found.gradients.sum()))
        rows = found.broken.nonzero().flatten().tolist()
        if rows:
            x = found.x[rows]
            opinions = opinion(target, x)
            outcome.evidence = [
                Witness(shard.items[row], label, float(found.distance[row]), i, *opinions[i])
                for i, row in enumerate(rows)
            ]
            outcome.tensors = {"x": x, "x0": shard.x[rows]}
        return outcome

    return engine


@final
class Ranking:
    """How far short ascents raise the margins of examples, at each radius: probes of one radius share them."""

    def __init__(self) -> None:
        self._known: dict[tuple[float, int], tuple[float, int, int]] = {}

    def of(self, target: Target, shard: Shard, threat: Threat, checkpoint: Checkpoint) -> tuple[Scores, int, int]:
        """(the margin reached by each example of a shard, the forward and gradient rows that it takes to know them)."""
        radius = threat.set.radius
        new = [row for row, item in enumerate(shard.items) if (radius, item) not in self._known]
        if new:
            found = reached(target, shard.x[new], shard.y[new], threat, checkpoint)
            for row, *about in zip(new, *(values.tolist() for values in found), strict=True):
                self._known[radius, shard.items[row]] = tuple(about)
        margins, queries, gradients = zip(*(self._known[radius, item] for item in shard.items), strict=True)
        return torch.tensor(margins, dtype=torch.float64), sum(queries), sum(gradients)


def probing(attack: Attack, label: str, threat: Threat, sample: int, ranking: Ranking, pays: bool = True) -> Engine:
    """An attack as an engine that is asked about the most fragile of a shard, at most `sample` of them.

    Those that the ascent breaks by which they are ranked come first, and it is for the attack to break them again.
    pays: whether what the ranking takes counts as its own: of several that share it, the first does.
    """
    whole = attacking(attack, label, threat)

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        margins, queries, gradients = ranking.of(target, shard, threat, checkpoint)
        chosen = margins.argsort(descending=True, stable=True)[:sample].sort().values
        items = [shard.items[row] for row in chosen.tolist()]
        outcome = whole(target, Shard(items, shard.x[chosen], shard.y[chosen], shard.seed), checkpoint)
        outcome.asked = len(items)
        if pays:
            outcome.forwards += queries
            outcome.gradients += gradients
        return outcome

    return engine


def reached(
    target: Target, x: Inputs, y: Labels, threat: Threat, checkpoint: Checkpoint, steps: int = 10
) -> tuple[Scores, Tensor, Tensor]:
    """(the largest margin that a short ascent from x0 reaches, forward and gradient rows it took), of each example.

    The margin at x0 where gradients are not seen or no radius is given, and nothing where no scores are.
    """
    hunt = Hunt(target, x, y, threat, torch.Generator(x.device), checkpoint)
    best = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    if hunt.access >= Access.SCORES and hunt.clean is not None:
        best[hunt.rows] = (margin(hunt.clean, hunt.y, hunt.aim) * hunt.score_unit).to(x.dtype)
    ascends = hunt.access >= Access.GRADIENTS and threat.set.radius < float("inf")
    for _ in hunt.steps(steps if ascends else 0):
        before = hunt.rows
        value, g = hunt.gradient(margin)
        best[before] = best[before].where(torch.isin(before, hunt.rows), torch.inf)
        best[hunt.rows] = torch.maximum(best[hunt.rows], (value * hunt.score_unit).to(x.dtype))
        hunt.move(hunt.x + 2.5 / steps * hunt.set.radius * hunt.set.steepest(g))
    return best, hunt.queries, hunt.gradients


def first_look(label: str, threat: Threat) -> Engine:
    """The clean examples: what the target says of them, and which are lost, or cannot be asked, already."""
    misclassified = attacking(Clean(), label, threat)

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        opinions = opinion(target, shard.x)
        outcome = misclassified(target, shard, checkpoint)
        for item, (predicted, confidence) in zip(shard.items, opinions, strict=True):
            outcome.evidence.append(Look(item, label, predicted, confidence))
            if predicted is None:
                outcome.evidence.append(Failure(item, label, "the target's scores are not finite"))
        return outcome

    return engine


def proving(verifier: Verifier, graph: Graph, label: str, threat: Threat) -> Engine:
    """A verifier as an engine: where every margin that matters is bounded above zero, that is a certificate.

    What matters follows from the goal: the label must lead every class, or it is enough that it leads the aim.
    """

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        aims = threat.goal.aims(shard.y, target.scores(shard.x))
        spec = margins(shard.y, graph.classes, aims)
        bounds = verifier(graph, shard.x, threat.set, spec, checkpoint)
        grades = with_soundness(verifier, graph, shard.x, threat.set, spec, bounds, checkpoint)
        proved = [
            Certificate(item, label, threat.set.radius, bound, soundness)
            for item, (bound, soundness) in zip(shard.items, grades, strict=True)
            if bound > 0
        ]
        return ShardResult(list(proved), forwards=len(shard.items))

    return engine


def opinion(target: Target, x: Inputs) -> list[tuple[int | None, float | None]]:
    """(predicted class, confidence in it) of each input; None where the scores are not finite, or not seen."""
    if target.access < Access.SCORES:
        return [(label, None) for label in target.labels(x).tolist()]
    scores = target.scores(x)
    best = probabilities(scores).max(1)
    return [
        (label, round(confidence, 6)) if finite else (None, None)
        for label, confidence, finite in zip(
            best.indices.tolist(), best.values.tolist(), scores.isfinite().all(1).tolist(), strict=True
        )
    ]
