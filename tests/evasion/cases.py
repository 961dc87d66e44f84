"""Every exported attack, small enough to run hundreds of times. The contract holds for each of them."""

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
