"""How many rounds of how many steps a search has, and how a step shrinks over it."""

from math import cos, pi

from brinell.errors import UsageError


def cosine(step: int, steps: int, first: float, last: float) -> float:
    """From `first` at step 0 toward `last` at `steps`, along half a cosine."""
    return last + (first - last) * (1 + cos(pi * step / steps)) / 2


def check_rounds(name: str, rounds: int, steps: int, step: float, fewest: int = 1) -> None:
    """Refuse less than one round, which the attack calls `name`, too few steps a round, or a step of no length."""
    if rounds < 1 or steps < fewest or not step > 0:
        raise UsageError(
            f"{name} is {rounds}, steps {steps} and step {step}; "
            f"{name} must be at least 1, steps at least {fewest} and step > 0"
        )
