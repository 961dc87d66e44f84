"""How much does it help a model to hide? The same network, attacked by adversaries that see less and less of it."""

import brinell
from brinell.data import load
from brinell.demo import digits_network
from brinell.evasion import APGD, Noise, Square

test = load("digits").take(200, seed=0)
target = brinell.target(digits_network())
ball = brinell.Linf(0.1)

for access, attack in (
    (brinell.Access.GRADIENTS, APGD(steps=30)),
    (brinell.Access.SCORES, Square(queries=200)),
    (brinell.Access.LABELS, Noise(draws=200)),
):
    found = brinell.attack(attack, target, test.x, test.y, brinell.Threat(ball, access=access))
    print(f"{access.name.lower():>9}: {found.broken.float().mean():.0%} broken by {type(attack).__name__}")
