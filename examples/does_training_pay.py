"""Does robust training pay? Two networks of one shape, audited on the same examples and compared pair by pair.

The first is trained on clean examples, the second on perturbed ones (the one of `brinell audit digits`).
"""

import copy

import torch
from torch import nn

import brinell
from brinell.auditing import compare
from brinell.data import load
from brinell.demo import digits_network

RADII = (0.02, 0.05, 0.1)


def main() -> None:
    test = load("digits").take(300, seed=0)
    robust = digits_network()
    plain = retrained(robust)
    threat = brinell.Threat(brinell.Linf(max(RADII)))
    before, after = (
        brinell.audit(brinell.target(net), test, threat, plan="quick", radii=RADII) for net in (plain, robust)
    )
    print(f"plain:  {before}")
    print(f"robust: {after}")
    for d in compare(before, after):
        print(f"{d.name}: {d.gained} gained, {d.lost} lost, McNemar p = {d.p_value:.2g}")


def retrained(network: nn.Module) -> nn.Module:
    """The same shape from fresh weights, on clean examples."""
    train = load("digits:train")
    rng = torch.Generator().manual_seed(1)
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(30):
        for batch in torch.randperm(len(train), generator=rng).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(train.x[batch]), train.y[batch]).backward()
            optimiser.step()
    return network.eval()


if __name__ == "__main__":
    main()
