"""Monotonicity of trees against every cell of their thresholds, and trees that were fitted to rise."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.errors import UsageError
from brinell.proofs import forest_of, monotone_trees
from brinell.proofs.exact.forest import first_right, last_left

ROW = torch.tensor([[-1.0, 1.0]]).double()
MODELS = {
    "tree": lambda seed: DecisionTreeClassifier(max_depth=3, random_state=seed),
    "forest": lambda seed: RandomForestClassifier(4, max_depth=2, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(n_estimators=6, max_depth=2, random_state=seed),
}


def fitted(name, seed, rises=True):
    """On whole numbers, so that trees share thresholds. rises: without noise, the label does with the first feature."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 5, (80, 3)).astype(float)
    noise = 0 if rises else rng.normal(size=80)
    y = (x[:, 0] + noise + (x[:, 1] - 2) * (x[:, 2] > 2) > 2).astype(int)
    return forest_of(brinell.target(MODELS[name](seed).fit(x, y), box=(0.0, 5.0)))


def least_change(forest, low, high, feature, dtype):
    """The least change of the margin, over all cells, as the feature passes one threshold."""
    cells = []
    for i in range(forest.features):
        ends = np.unique(np.concatenate([tree.upto[:, i] for tree in forest.trees]))
        ends = ends[np.isfinite(ends)]
        sides = np.concatenate([[low[i], high[i]], last_left(ends, dtype), first_right(ends, dtype)])
        cells.append(np.unique(sides[(sides >= low[i]) & (sides <= high[i])]))
    grid = np.array(list(itertools.product(*cells))).reshape(*map(len, cells), forest.features)
    values = (forest.scores(torch.from_numpy(grid.reshape(-1, forest.features))) @ ROW.T).reshape(grid.shape[:-1])
    return float(np.diff(values.numpy(), axis=feature).min(initial=0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", MODELS)
def test_the_answer_is_that_of_every_cell(name, seed, dtype):
    forest = fitted(name, seed, rises=seed % 2 == 0)
    for low, high in (([0.0] * 3, [4.0] * 3), ([1.0, 0.5, 2.0], [3.0, 0.5, 4.0])):
        for feature in range(3):
            least = least_change(forest, low, high, feature, dtype)
            found = monotone_trees(
                forest, torch.tensor(low), torch.tensor(high), feature, ROW, timeout=20, precision=dtype
            )
            assert found.verdict == ("proved" if least >= -1e-9 else "refuted")
            if found.pair is not None:
                before, after = found.pair.x
                changed = (before != after).tolist()
                assert changed == [i == feature for i in range(3)]
                assert before[feature] < after[feature]
                assert (found.pair.x >= torch.tensor(low)).all()
                assert (found.pair.x <= torch.tensor(high)).all()
                assert float((found.pair.y[1] - found.pair.y[0]) @ ROW[0]) < 0


def test_trees_fitted_to_rise_are_proved():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + rng.normal(size=200) > 0).astype(int)
    model = RandomForestClassifier(10, max_depth=4, monotonic_cst=[1, 0, 0, 0], random_state=0).fit(x, y)
    forest, ends = forest_of(brinell.target(model, box=(-5.0, 5.0))), torch.full((4,), 5.0)
    assert monotone_trees(forest, -ends, ends, 0, ROW, timeout=20).verdict == "proved"
    assert monotone_trees(forest, -ends, ends, 0, -ROW, timeout=20).verdict == "refuted"
    assert monotone_trees(forest, -ends, ends, 1, ROW, timeout=20).verdict == "refuted"


def test_a_model_that_does_not_fall_as_it_runs_is_not_refuted():
    forest = fitted("tree", 1, rises=False)
    low, high = torch.zeros(3), torch.full((3,), 4.0)
    found = monotone_trees(forest, low, high, 0, -ROW, timeout=20, run=lambda x: forest.scores(x) * 0)
    assert found.verdict == "unknown"
    assert monotone_trees(forest, low, high, 0, -ROW, timeout=1e-9).verdict == "timeout"
    with pytest.raises(UsageError, match="features 0 to 2"):
        monotone_trees(forest, low, high, 5, ROW, timeout=1)
