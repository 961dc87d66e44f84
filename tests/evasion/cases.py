"""Every exported attack, small enough to run hundreds of times. The contract holds for each of them."""

from brinell.catalog import CATALOG
from brinell.evasion import APGD, BIM, FGSM, PGD, Attack, Clean, Momentum, Noise, Square, dlr, margin

CASES: dict[str, Attack] = {
    "Clean": Clean(),
    "FGSM": FGSM(),
    "BIM": BIM(steps=3),
    "PGD": PGD(steps=4, restarts=2),
    "PGD-momentum": PGD(steps=4, rule=Momentum()),
    "PGD-margin": PGD(steps=4, objective=margin),
    "APGD": APGD(steps=10, restarts=2),
    "APGD-T": APGD(steps=6, objective=dlr, targets=9),
    "Square": Square(queries=30),
    "Noise": Noise(draws=6),
}

POPULATION: frozenset[str] = frozenset()
"""Those that ask about several points of an example at once: the last may cost more than what is left of a budget, and
what they learn from one round may come after a hit in it."""

MINIMAL: frozenset[str] = frozenset()
"""Those that seek the smallest perturbation, so that an infinite radius means something to them."""

WEAK: frozenset[str] = frozenset({"Clean", "Noise"})
"""Those that need not break every linear model with so few steps."""


def answers_for(name: str, set: str) -> bool:
    """Whether the catalogue says that this attack answers for this set."""
    sets = next(row.sets for row in CATALOG if row.name == name.split("-")[0])
    return not sets or set in sets
