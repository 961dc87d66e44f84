"""The last ascent: from the nearest point that a walk found beyond the radius, projected into the set.

A walk along the decision boundary and an ascent within a ball fail at different places: the walk ends a little too far
away, the ascent begins where the gradient says nothing. From the projection of the one the other often succeeds.
"""

from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.objective import margin

FIRST = 0.25
"""Length of the first step, in radii; they fall linearly from there to nothing."""


def gradient_ascent(hunt: Hunt, steps: int, nearest: NearestAdversarial) -> None:
    """Maximise the margin for `steps` gradients from the point of the set that is nearest to what a walk has found.

    Nothing is done at an infinite radius, where all that was found is in the set. The examples of which nothing was
    found are let go: it ends an attack.
    """
    nearest.note_last(hunt)
    radius = hunt.set.radius
    if not steps or radius == float("inf"):
        return

    hunt.begin()
    hunt.drop(~nearest.reach(hunt).isfinite())
    if not len(hunt):
        return
    hunt.move(nearest.x(hunt))
    for step in hunt.steps(steps):
        _, g = hunt.gradient(margin)
        length = FIRST * radius * (1 - step / steps)
        hunt.move(hunt.x + length * hunt.set.steepest(g))
