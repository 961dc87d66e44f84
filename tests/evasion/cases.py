"""Every exported attack, small enough to run hundreds of times. The contract holds for each of them."""

from brinell.catalog import CATALOG
from brinell.evasion import (
    APGD,
    BIM,
    DDN,
    DIFGSM,
    EOTPGD,
    FAB,
    FGSM,
    FMN,
    MIFGSM,
    NES,
    NIFGSM,
    OPT,
    PGD,
    SINIFGSM,
    SLIDE,
    SPSA,
    TIFGSM,
    TPGD,
    VMIFGSM,
    ZOO,
    Attack,
    Bandits,
    Boundary,
    Clean,
    Cosines,
    DeepFool,
    Diverse,
    Evolutionary,
    Expected,
    GenAttack,
    GeoDA,
    Grid,
    HopSkipJump,
    LabelOnly,
    LocalSearch,
    Momentum,
    Noise,
    OnePixel,
    PartialInformation,
    RayS,
    Scaled,
    SignOPT,
    SimBA,
    Square,
    Tuned,
    dlr,
    margin,
)

CASES: dict[str, Attack] = {
    "Clean": Clean(),
    "FGSM": FGSM(),
    "BIM": BIM(steps=3),
    "PGD": PGD(steps=4, restarts=2),
    "PGD-momentum": PGD(steps=4, rule=Momentum()),
    "PGD-margin": PGD(steps=4, objective=margin),
    "APGD": APGD(steps=10, restarts=2),
    "APGD-T": APGD(steps=6, objective=dlr, targets=9),
    "APGD-EOT": APGD(steps=5, modifiers=(Expected(2),)),
    "MIFGSM": MIFGSM(steps=4),
    "NIFGSM": NIFGSM(steps=4),
    "SINIFGSM": SINIFGSM(steps=4, copies=3),
    "DIFGSM": DIFGSM(steps=4, chance=0.7, least=0.6),
    "TIFGSM": TIFGSM(steps=4, length=3),
    "VMIFGSM": VMIFGSM(steps=3, neighbours=3),
    "PGD-all": PGD(steps=3, rule=Momentum(), modifiers=(Tuned(2), Scaled(2), Diverse())),
    "TPGD": TPGD(steps=6),
    "EOTPGD": EOTPGD(steps=4, draws=2),
    "SLIDE": SLIDE(steps=8, share=0.3),
    "DeepFool": DeepFool(steps=6),
    "DDN": DDN(steps=12),
    "FMN": FMN(steps=12),
    "FAB": FAB(steps=4),
    "FAB-T": FAB(steps=4, targets=2, restarts=2),
    "Square": Square(queries=30),
    "Noise": Noise(draws=6),
    "Grid": Grid(counts=2, most=6),
    "ZOO": ZOO(searches=2, steps=10, coordinates=6, step=0.1, constant=10.0),
    "NES": NES(steps=4, pairs=6),
    "SPSA": SPSA(steps=6, pairs=6, step=0.1),
    "Bandits": Bandits(steps=20, rate=1000.0),
    "SimBA": SimBA(queries=30),
    "SimBA-cosines": SimBA(queries=30, basis=Cosines()),
    "GenAttack": GenAttack(generations=30),
    "OnePixel": OnePixel(generations=4, population=8),
    "Boundary": Boundary(queries=300),
    "OPT": OPT(queries=400, probes=4),
    "SignOPT": SignOPT(queries=300, probes=12),
    "HopSkipJump": HopSkipJump(queries=300, probes=12),
    "GeoDA": GeoDA(queries=300, rounds=4),
    "RayS": RayS(queries=150),
    "Evolutionary": Evolutionary(queries=400, share=0.5),
    "LabelOnly": LabelOnly(queries=300, probes=12, spread=0.1),
    "PartialInformation": PartialInformation(queries=300, probes=12),
    "LocalSearch": LocalSearch(rounds=4, points=12),
}

POPULATION: frozenset[str] = frozenset(
    {
        "Bandits",
        "Boundary",
        "Evolutionary",
        "GenAttack",
        "GeoDA",
        "HopSkipJump",
        "LabelOnly",
        "LocalSearch",
        "NES",
        "OPT",
        "OnePixel",
        "PartialInformation",
        "RayS",
        "SPSA",
        "SignOPT",
        "ZOO",
    }
)
"""Those that ask about several points of an example at once: the last may cost more than what is left of a budget, and
what they learn from one round may come after a hit in it."""

MINIMAL: frozenset[str] = frozenset(
    {
        "Boundary",
        "DDN",
        "DeepFool",
        "Evolutionary",
        "FAB",
        "FAB-T",
        "FMN",
        "GeoDA",
        "HopSkipJump",
        "LabelOnly",
        "OPT",
        "PartialInformation",
        "RayS",
        "SignOPT",
        "ZOO",
    }
)
"""Those that seek the smallest perturbation, so that an infinite radius means something to them."""

RENDERED: frozenset[str] = frozenset({"DIFGSM", "PGD-all", "SINIFGSM"})
"""Those that ask about other views of an example, in which its features cannot be told."""

BEYOND: frozenset[str] = frozenset(
    {
        "DIFGSM",
        "NIFGSM",
        "PGD-all",
        "SINIFGSM",
        "VMIFGSM",
        "FAB",
        "FAB-T",
        "Boundary",
        "Evolutionary",
        "GeoDA",
        "HopSkipJump",
        "LabelOnly",
        "OPT",
        "PartialInformation",
        "RayS",
        "SignOPT",
    }
)
"""Those that ask about points outside the set, where what serves the adversary is no witness and no reason to stop."""

WEAK: frozenset[str] = frozenset({"Boundary", "Clean", "Noise", "OnePixel", "TPGD"})
"""Those that need not break every linear model with so few steps."""


def answers_for(name: str, set: str) -> bool:
    """Whether the catalogue says that this attack answers for this set; for l1 and l0, by name or as gradients do."""
    row = next(row for row in CATALOG if row.name == name.split("-")[0])
    return set in row.sets if row.sets else row.family == "gradient" or set in ("linf", "l2")
