"""Relaxed robustness: a few classes together stay ahead of all others, whichever of them leads.

Source: Leino and Fredrikson 2021, arXiv:2106.06624. There the margins are bounded by a Lipschitz constant; here by any
verifier, so that CROWN certifies the same properties for more examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.network.graph import Graph
from brinell.proofs.query.verifier import Checkpoint, Verifier, nothing
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Mask


@final
@dataclass(frozen=True, eq=False)
class Ahead:
    """The leading classes of each example that no other class overtakes anywhere in the perturbation set.

    size: how many, 0 where nothing is certified. margin: a lower bound on their lead over all other classes, for the
    best number of classes allowed. classes: which they are.
    """

    size: Int64[Tensor, " batch"]
    margin: Float64[Tensor, " batch"]
    classes: Bool[Tensor, "batch classes"]

    @property
    def certified(self) -> Mask:
        return self.size > 0


def top_k(
    verifier: Verifier,
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    k: int,
    checkpoint: Checkpoint = nothing,
) -> Ahead:
    """Relaxed top-K robustness: for some number of classes up to k, the set of leading classes stays the same.

    With k = 1 it is robustness of the decision. Raises UsageError for k < 1 or k >= classes.
    """
    if not 1 <= k < graph.classes:
        raise UsageError(f"k is {k}; it must be from 1 to one less than the {graph.classes} classes")
    return _ahead(verifier, graph, x0, perturbation, k, None, checkpoint)


def affinity(
    verifier: Verifier,
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    groups: Sequence[Sequence[int]],
    checkpoint: Checkpoint = nothing,
) -> Ahead:
    """Affinity robustness: a set of leading classes, all of one group, stays the same.

    groups: classes that may be taken for one another; groups may overlap, and each class alone is one. Raises
    UsageError for a group that is empty or names no class.
    """
    members = torch.eye(graph.classes, dtype=torch.bool)
    for group in groups:
        if not group or not all(0 <= c < graph.classes for c in group):
            raise UsageError(f"group {list(group)} must name classes from 0 to {graph.classes - 1}")
        row = torch.zeros(1, graph.classes, dtype=torch.bool)
        row[0, list(group)] = True
        members = torch.cat((members, row))
    largest = min(int(members.sum(1).max()), graph.classes - 1)
    return _ahead(verifier, graph, x0, perturbation, largest, members, checkpoint)


def _ahead(
    verifier: Verifier,
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    k: int,
    groups: Bool[Tensor, "groups classes"] | None,
    checkpoint: Checkpoint,
) -> Ahead:
    """The best over 1 to k of a lower bound on the lead of so many leading classes over all others."""
    classes = graph.classes
    order = graph(x0).argsort(dim=1, descending=True, stable=True)
    identity = torch.eye(classes, dtype=torch.float64)
    ranked = identity[order]  # [batch, classes, classes]: row r is the class of rank r
    spec = (ranked[:, :k, None] - ranked[:, None]).flatten(1, 2)
    bounds = verifier(graph, x0, perturbation, spec.to(x0.device), checkpoint).to("cpu").reshape(-1, k, classes)
    found = torch.full((len(x0), k), -torch.inf, dtype=torch.float64)
    for many in range(1, k + 1):
        found[:, many - 1] = bounds[:, :many, many:].flatten(1).amin(1)
        if groups is not None:
            leading = ranked[:, :many].sum(1).bool()
            found[~(leading[:, None] <= groups).all(2).any(1), many - 1] = -torch.inf
    margin, best = found.max(1)
    size = torch.where(margin > 0, best + 1, 0)
    kept = torch.zeros(len(x0), classes, dtype=torch.bool)
    kept.scatter_(1, order, torch.arange(classes) < size.unsqueeze(1))
    return Ahead(size, margin, kept)
