"""Trees settled exactly: how many examples, at what cost, and how far attacks on labels stay from the truth."""

import time
from itertools import product

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

import brinell
from benchmarks.figure import Figure
from brinell.evasion import HopSkipJump, RayS
from brinell.proofs import ExactTrees, forest_of
from brinell.proofs.exact.forest import cells
from brinell.targets import Target
from brinell.threat import Linf, Threat

EXAMPLES = 20
NODES = 1000
"""As in the plan `standard`."""

MODELS = {
    "a decision tree": DecisionTreeClassifier(random_state=0),
    "a forest of 10": RandomForestClassifier(10, random_state=0),
    "a forest of 20": RandomForestClassifier(20, random_state=0),
    "a forest of 100": RandomForestClassifier(100, random_state=0),
    "20 rounds of boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "100 rounds of boosting": GradientBoostingClassifier(n_estimators=100, random_state=0),
}


def run() -> list[Figure]:
    """All rows."""
    torch.set_num_threads(1)
    rows = [_against_products()]
    for data in ("breast cancer", "digits"):
        for name, model in MODELS.items():
            if data == "breast cancer" or not isinstance(model, GradientBoostingClassifier) or model.n_estimators < 100:
                rows.append(_settled(data, name))
    return [*rows, _against_attacks()]


def _problem(data: str, name: str) -> tuple[Target, Tensor, Tensor]:
    """The model trained on one half, and examples of the other that it gets right; features scaled to [0, 1]."""
    bunch = load_breast_cancer() if data == "breast cancer" else load_digits()
    low, high = bunch.data.min(0), bunch.data.max(0)
    x = ((bunch.data - low) / np.where(high > low, high - low, 1)).clip(0, 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], bunch.target[order]
    half = len(x) // 2
    target = brinell.target(MODELS[name].fit(x[:half], y[:half]))
    held, labels = torch.from_numpy(x[half:]), torch.from_numpy(y[half:])
    right = target.labels(held) == labels
    return target, held[right][:EXAMPLES], labels[right][:EXAMPLES]


def _settled(data: str, name: str) -> Figure:
    target, x, y = _problem(data, name)
    forest = forest_of(target)
    leaves = sum(len(tree.scores) for tree in forest.trees)
    shares = []
    for radius in (0.05, 0.1, 0.3):
        set = Linf(radius).within(target.box)
        start = time.perf_counter()
        found = ExactTrees(NODES)(forest, x, y, set)
        seconds = (time.perf_counter() - start) / len(x)
        broken, certified = found.distance <= radius, found.certified >= radius
        shares.append(f"{100 * float((broken | certified).double().mean()):.0f} % at {radius:g} ({seconds:.3f} s)")
    return Figure(
        f"{data}, {name} ({leaves:,} leaves): examples of {len(x)} settled under linf, seconds an example",
        "the bracket of a few trees closes",
        ", ".join(shares),
    )


def _against_products() -> Figure:
    """Every way to take one leaf of each tree."""
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.min(0)) / np.ptp(x, 0)).clip(0, 1).astype(np.float32)
    target = brinell.target(RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, y))
    asked = torch.from_numpy(x[:EXAMPLES])
    label, set, forest = target.labels(asked), Linf(float("inf")).within(target.box), forest_of(target)
    found = ExactTrees()(forest, asked, label, set)
    boxes = [cells(tree, torch.zeros(30), torch.ones(30), torch.float32) for tree in forest.trees]
    worst = 0.0
    for row in range(len(asked)):
        nearest = np.inf
        for choice in product(*(range(len(tree.scores)) for tree in forest.trees)):
            low = np.max([box[0][i] for box, i in zip(boxes, choice, strict=True)], 0)
            high = np.min([box[1][i] for box, i in zip(boxes, choice, strict=True)], 0)
            if (low > high).any():
                continue
            point = torch.from_numpy(x[row].astype(np.float64).clip(low, high)).float()[None]
            distance = float(set.distance(asked[row : row + 1], point))
            if distance < nearest and int(target.labels(point)) != int(label[row]):
                nearest = distance
        worst = max(worst, abs(float(found.distance[row]) / nearest - 1))
    return Figure(
        f"breast cancer, 3 trees of depth 3: distance over that of every product of leaves, {len(asked)} examples",
        "1 to 1e-9",
        f"within {worst:.1g}",
    )


def _against_attacks() -> Figure:
    target, x, y = _problem("breast cancer", "20 rounds of boosting")
    set = Linf(float("inf"))
    exact = ExactTrees()(forest_of(target), x, y, set.within(target.box)).distance
    ratios = []
    for attack in (HopSkipJump(queries=5000), RayS(queries=5000)):
        found = brinell.attack(attack, target, x, y, Threat(set))
        ratio = found.distance / exact
        ratios.append(f"{type(attack).__name__} median {ratio.median():.3f}, worst {ratio.max():.2f}")
    return Figure(
        f"breast cancer, 20 rounds of boosting: linf distance of attacks on labels (5,000 queries) over the exact one, "
        f"{len(x)} examples",
        "at least 1",
        "; ".join(ratios),
    )
