"""The embedded default: a small network for scikit-learn's digits, trained to withstand small changes.

It is adversarially trained (Wong et al. 2020, arXiv:2001.03994: one gradient step from a random start), so that both
edges of its bracket have something to say. Its weights, which `train_digits_network` made, come with the package: they
are the same on every machine, and are there at once.
"""

from importlib.resources import files

import torch
from safetensors.torch import load as load_weights
from torch import nn
from torch.nn import functional

from brinell.data import load

RADIUS = 0.1
"""The linf radius it is trained for, on values from 0 to 1."""


def digits_network() -> nn.Module:
    """The trained network."""
    with torch.random.fork_rng(devices=[]):  # building layers draws: the caller's generator must not notice
        network = _network()
    network.load_state_dict(load_weights((files("brinell") / "digits.safetensors").read_bytes()))
    return network.eval()


def train_digits_network(epochs: int = 30) -> nn.Module:
    """The same trained anew, to the bit on one machine. Needs scikit-learn, for the data."""
    data = load("digits:train")
    rng = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            network = _network()
        _initialise(network, rng)
        optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(data), generator=rng).split(100):
                x, y = data.x[batch], data.y[batch]
                loss = functional.cross_entropy(network(_perturbed(network, x, y, rng)), y)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    finally:
        torch.set_num_threads(threads)
    return network.eval()


def _network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def _initialise(network: nn.Sequential, rng: torch.Generator) -> None:
    with torch.no_grad():
        for layer in network:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, generator=rng)
                layer.get_parameter("bias").zero_()


def _perturbed(network: nn.Module, x: torch.Tensor, y: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    start = RADIUS * (2 * torch.rand(x.shape, generator=rng) - 1)
    near = (x + start).clamp(0, 1).requires_grad_()
    (g,) = torch.autograd.grad(functional.cross_entropy(network(near), y), near)
    step = (start + 1.25 * RADIUS * g.sign()).clamp(-RADIUS, RADIUS)
    return (x + step).clamp(0, 1)
