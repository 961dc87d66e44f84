"""The transferability matrix: which model's adversarial examples fool which.

Source: Papernot et al. 2016, arXiv:1605.07277, section 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.gradient.pgd import FGSM
from brinell.evasion.noise import Noise
from brinell.evasion.score.square import Square
from brinell.evasion.transfer.transfer import crafted
from brinell.evidence import wilson
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Cell:
    """How often the examples crafted on one model fool another. of: examples that the other has right as they are."""

    source: str
    target: str
    fooled: int
    of: int

    @property
    def rate(self) -> float:
        """The share fooled; NaN where the target has nothing right."""
        return self.fooled / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the rate."""
        return wilson(self.fooled, self.of)


@final
@dataclass(frozen=True)
class Matrix:
    """One cell a pair, row by row: a row is a source, a column a target."""

    names: tuple[str, ...]
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
) -> Matrix:
    """Craft the same examples on each target, and show them to all.

    attacks: what is used on a target, by its name; the default is FGSM where gradients are shown, Square where scores
    are, and else random points. Every target crafts for every example, as `crafted` says. A target is fooled if it has
    the example right and loses it, or for a goal with an aim, if it then says the aim.
    """
    attacks = attacks or {}
    if unknown := set(attacks) - set(targets):
        raise UsageError(f"attacks name {', '.join(sorted(unknown))}; the targets are {', '.join(targets)}")
    for target in targets.values():
        check_examples(target, x, y, threat.within(target.box))
    right = {name: target.labels(x) == y for name, target in targets.items()}
    cells = []
    for source, own in targets.items():
        rng = torch.Generator(x.device).manual_seed(seed)
        within = threat.within(own.box)
        shown, aims = crafted(attacks.get(source, _usual(own)), own, x, y, within, rng)
        for name, other in targets.items():
            said = other.labels(shown)
            fooled = right[name] & ((said != y) if aims is None else (said == aims))
            cells.append(Cell(source, name, int(fooled.sum()), int(right[name].sum())))
    return Matrix(tuple(targets), tuple(cells))


def _usual(target: Target) -> Attack:
    if target.access >= Access.GRADIENTS:
        return FGSM()
    return Square(queries=500) if target.access >= Access.SCORES else Noise()
