"""What a walk has found at any distance: a radius says which of it is a witness, and never where the walk goes."""

import torch

from brinell.evasion.hunt import Hunt
from brinell.types import Inputs, Scores


class NearestAdversarial:
    """The nearest point of each example found adversarial so far, in the set or not, over all runs of a hunt.

    At an infinite radius it is the hunt's own. At a finite one the hunt keeps what lies within, and lets go of the
    example; what lies beyond steers the walk as it does at an infinite radius, so that the same seed finds the same.
    """

    def __init__(self, hunt: Hunt) -> None:
        self._x = hunt.candidates.clone()
        self._distance = torch.full_like(hunt.distance, torch.inf)

    def note(self, hunt: Hunt) -> None:
        """Keep what the last query showed to be adversarial."""
        if not hunt.hit.any():
            return
        rows = hunt.rows[hunt.hit]
        x = hunt.x[hunt.hit]
        distance = hunt.set.distance(hunt.x0[hunt.hit], x)
        nearer = distance < self._distance[rows]
        self._x[rows[nearer]] = x[nearer]
        self._distance[rows[nearer]] = distance[nearer]

    def note_last(self, hunt: Hunt) -> None:
        """Keep the last point of a walk too, which has not been asked about yet."""
        hunt.query_if_moved()
        self.note(hunt)

    def x(self, hunt: Hunt) -> Inputs:
        """That point of the examples that still stand; x0 where there is none."""
        return self._x[hunt.rows]

    def reach(self, hunt: Hunt) -> Scores:
        """Its distance, float64; inf where there is none."""
        return self._distance[hunt.rows]
