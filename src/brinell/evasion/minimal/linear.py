"""What a linear model of the margin says before a search begins, so that no scale has to be told to it."""

import torch

from brinell.threat import Box
from brinell.types import Inputs, Scores


def linear_distance(missing: Scores, slope: Scores, box: Box) -> Scores:
    """How far the margin has to be followed at this slope until nothing is missing; at most the box's width.

    Where there is no slope it is that width, or 1 where the box has no end.
    """
    most = box.width if box.bounded else 1.0
    distance = missing / slope
    return distance.where((slope > 0) & distance.isfinite(), most).clamp(max=box.width)


def linear_constant(missing: Scores, g: Inputs) -> Scores:
    """The least c for which c * margin - |d|^2 is largest where nothing is missing; 1 where there is none.

    g: the margin's gradient.
    """
    constant = 2 * missing / g.flatten(1).square().sum(1)
    return constant.where(constant.isfinite() & (constant > 0), torch.ones_like(constant))
