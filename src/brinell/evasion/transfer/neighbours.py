"""Nearest neighbours with gradients: every training point votes, the nearer the more.

Source: Papernot et al. 2016, arXiv:1605.07277, section 3.1, after the soft nearest neighbours of Goldberger et al.
"""

from typing import final

import torch
from torch import Tensor, nn

from brinell.errors import UsageError
from brinell.targets import Target, TorchBackend
from brinell.targets.differentiable import fitted, squared_distances
from brinell.types import Inputs, Logits


def soft_neighbours(target: Target, temperature: float = 1.0) -> Target:
    """A smooth stand-in for a fitted KNeighborsClassifier: what fools it is shown to the classifier by `Transfer`.

    temperature: squared distances are divided by it; the lower, the more the nearest point decides, and at 0 that would
    be the classifier with one neighbour. Its scores are logarithms of votes. Raises UsageError for other models, or
    another metric than the Euclidean.
    """
    if not temperature > 0:
        raise UsageError(f"temperature is {temperature}; it must be above 0, in squared units of the input")
    estimator = fitted(target)
    name = type(estimator).__name__
    if name != "KNeighborsClassifier" or estimator.effective_metric_ != "euclidean":
        metric = getattr(estimator, "effective_metric_", None)
        raise UsageError(
            f"{name} with the metric {metric!r} has no soft form; give a KNeighborsClassifier with the Euclidean one"
        )
    points = torch.from_numpy(estimator._fit_X).double()
    module = _SoftNeighbours(points, torch.from_numpy(estimator._y).long(), len(estimator.classes_), temperature)
    return Target(TorchBackend(module), target.box, mean=target.mean, std=target.std, chunk=target.chunk)


@final
class _SoftNeighbours(nn.Module):
    """log of the sum of exp(-|x - z|^2 / temperature) over the training points z of each class."""

    points: Tensor
    y: Tensor

    def __init__(self, points: Tensor, y: Tensor, classes: int, temperature: float) -> None:
        super().__init__()
        self._classes = classes
        self._temperature = temperature
        self.register_buffer("points", points)
        self.register_buffer("y", y)

    def forward(self, x: Inputs) -> Logits:
        votes = -squared_distances(x.flatten(1), self.points) / self._temperature
        return torch.stack([votes[:, self.y == k].logsumexp(1) for k in range(self._classes)], 1)
