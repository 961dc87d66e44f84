"""Every test here sees scores in their own unit."""

from evasion.own_unit import scores_in_their_own_unit as scores_in_their_own_unit
