"""The transferability matrix: which model's adversarial examples fool which.

Source: Papernot et al. 2016, arXiv:1605.07277, section 3.2.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.gradient.pgd import FGSM
from brinell.evasion.noise import Noise
from brinell.evasion.score.square import Square
from brinell.evasion.transfer.leaf_search import LeafSearch
from brinell.evasion.transfer.neighbours import soft_neighbours
from brinell.evasion.transfer.transfer import Transfer, crafted
from brinell.evidence import Share
from brinell.targets import Target
from brinell.targets.differentiable import differentiable
from brinell.targets.examples import check_examples
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Cell:
    """How often examples crafted on one model fool another. fooled: of those that the other has right as they are."""

    source: str
    target: str
    fooled: Share


@final
@dataclass(frozen=True)
class Matrix:
    """One cell a pair, row by row: a row is a source, a column a target. right: what each has right as it is."""

    names: tuple[str, ...]
    right: tuple[Share, ...]
    cells: tuple[Cell, ...]

    def cell(self, source: str, target: str) -> Cell:
        """The cell of a pair of names."""
        return self.cells[self.names.index(source) * len(self.names) + self.names.index(target)]


def matrix(
    targets: Mapping[str, Target],
    x: Inputs,
    y: Labels,
    threat: Threat,
    attacks: Mapping[str, Attack] | None = None,
    seed: int = 0,
    on_source: Callable[[str], None] = lambda name: None,
) -> Matrix:
    """Craft the same examples on each target, and show them to all.

    attacks: what is used on a target, by its name; the default is `usual`. Every target crafts for every example, as
    `crafted` says. A target is fooled if it has the example right and loses it, or for a goal with an aim, if it then
    says the aim. on_source is called before a target crafts.
    """
    attacks = attacks or {}
    if unknown := set(attacks) - set(targets):
        raise UsageError(f"attacks name {', '.join(sorted(unknown))}; the targets are {', '.join(targets)}")
    for target in targets.values():
        check_examples(target, x, y, threat.within(target.box))
    right = {name: target.labels(x) == y for name, target in targets.items()}
    cells = []

    for source, own in targets.items():
        on_source(source)
        rng = torch.Generator(x.device).manual_seed(seed)
        shown, aims = crafted(attacks.get(source) or usual(own), own, x, y, threat.within(own.box), rng)
        for name, other in targets.items():
            said = other.labels(shown)
            fooled = right[name] & ((said != y) if aims is None else (said == aims))
            cells.append(Cell(source, name, Share(int(fooled.sum()), int(right[name].sum()))))

    return Matrix(tuple(targets), tuple(Share(int(r.sum()), len(x)) for r in right.values()), tuple(cells))


def usual(target: Target) -> Attack:
    """What the paper crafts with on a model of this kind.

    FGSM where gradients are shown, where the model can be written out in torch, or on the soft form of nearest
    neighbours; leaf search on a decision tree. The paper does not craft on others: there it is Square where scores are
    shown, and else random points.
    """
    if target.access >= Access.GRADIENTS:
        return FGSM()
    for like in (differentiable, soft_neighbours):
        with suppress(UsageError):
            return Transfer(like(target), FGSM())
    with suppress(UsageError):
        return LeafSearch(target)
    return Square(queries=500) if target.access >= Access.SCORES else Noise()
