"""Substitute architectures: what an adversary trains who knows nothing of the target's."""

from math import prod

import torch
from torch import nn
from torch.nn.utils import skip_init

from brinell.errors import UsageError

SMALLEST = 4
"""Pixels a side below which an image is taken as a row of features: two poolings would leave nothing."""


def logistic(shape: torch.Size | tuple[int, ...], classes: int) -> nn.Module:
    """Logistic regression, from zero. shape: one example's."""
    layer = skip_init(nn.Linear, prod(shape), classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer)


def dense(shape: torch.Size | tuple[int, ...], classes: int, rng: torch.Generator, width: int = 200) -> nn.Module:
    """Two hidden layers, for inputs of any shape."""
    layers = [skip_init(nn.Linear, a, b) for a, b in ((prod(shape), width), (width, width), (width, classes))]
    return _drawn(nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]), rng)


def convolutional(shape: torch.Size | tuple[int, ...], classes: int, rng: torch.Generator) -> nn.Module:
    """Two convolutions with pooling and one hidden layer. shape: (channels, height, width)."""
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise UsageError(
            f"an example has shape {tuple(shape)}; a convolutional network needs (channels, height, width)"
        )
    channels, height, width = shape
    return _drawn(
        nn.Sequential(
            skip_init(nn.Conv2d, channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            skip_init(nn.Conv2d, 32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            skip_init(nn.Linear, 64 * (height // 4) * (width // 4), 200),
            nn.ReLU(),
            skip_init(nn.Linear, 200, classes),
        ),
        rng,
    )


def usual_network(shape: torch.Size | tuple[int, ...], classes: int, rng: torch.Generator) -> nn.Module:
    """Convolutional for images, dense for anything else."""
    image = len(shape) == 3 and min(shape[1:]) >= SMALLEST
    return convolutional(shape, classes, rng) if image else dense(shape, classes, rng)


def _drawn(network: nn.Sequential, rng: torch.Generator) -> nn.Module:
    """Weights from this generator; torch's own initialisation would draw from the global one."""
    for layer in network:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=rng)
            nn.init.zeros_(layer.get_parameter("bias"))
    return network
