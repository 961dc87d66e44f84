"""Who fools whom on MNIST, and a black box fooled through a substitute that its labels taught."""

from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import Figure, shared_images, small_cnn
from brinell.evasion import FGSM, attack
from brinell.evasion.transfer import Substitute, Transfer, ensemble, logistic, matrix, soft_neighbours
from brinell.targets import Target
from brinell.targets.differentiable import differentiable
from brinell.threat import Access, Linf, Threat

RADIUS = 0.3
TRAIN, TEST, SEEDS = 10_000, 1000, 100

PUBLISHED = {
    "network": (38.27, 23.02, 64.32, 79.31, 8.36, 20.72),
    "LR": (6.31, 91.64, 91.43, 87.42, 11.29, 44.14),
    "SVM": (2.51, 36.56, 100.0, 80.03, 5.19, 15.67),
    "tree": (0.82, 12.22, 8.85, 89.29, 3.31, 5.11),
    "kNN": (11.75, 42.89, 82.16, 82.95, 41.65, 31.92),
}
"""Papernot et al. 2016 (arXiv:1605.07277): per cent of a row's examples that network, LR, SVM, tree, kNN and ensemble
get wrong."""


def run() -> list[Figure]:
    """Everything; some minutes on one core."""
    x, y = shared_images("mnist_train", TRAIN)
    test, labels = shared_images("mnist_test", TEST + SEEDS)
    models = fitted(x, y)
    return [*who_fools_whom(models, test[:TEST], labels[:TEST]), *substitutes(models, test, labels)]


def fitted(x: Tensor, y: Tensor) -> dict[str, Target]:
    """The paper's five kinds of model, and their vote."""
    rows, classes = x.flatten(1).numpy(), y.numpy()
    made: dict[str, Target] = {"network": brinell.target(taught(x, y))}
    for name, estimator in {
        "LR": LogisticRegression(C=0.1, max_iter=200),
        "SVM": LinearSVC(C=0.01),
        "tree": DecisionTreeClassifier(random_state=0),
        "kNN": KNeighborsClassifier(5),
    }.items():
        made[name] = brinell.target(estimator.fit(rows, classes))
    return made | {"ensemble": ensemble(list(made.values()), fuse="votes")}


def taught(x: Tensor, y: Tensor) -> nn.Module:
    """small_cnn after five epochs of plain training."""
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process
    net = small_cnn().train()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(5):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    return net.eval()


def who_fools_whom(models: dict[str, Target], x: Tensor, y: Tensor) -> list[Figure]:
    """One row a source: what its examples do to each, beside what the paper has."""
    parts = [models["network"], *(differentiable(models[n]) for n in ("LR", "SVM")), soft_neighbours(models["kNN"])]
    own = {"ensemble": Transfer(ensemble(parts), FGSM())}
    made = matrix(models, x, y, Threat(Linf(RADIUS)), own)
    figures = []
    for source in models:
        cells = [made.cell(source, name).fooled for name in models]
        figures.append(
            Figure(
                f"MNIST, crafted on {source} at linf {RADIUS}, of {TEST} test images those that "
                f"{', '.join(models)} had right and lost, per cent",
                ", ".join(f"{v:g}" for v in PUBLISHED[source]) + " (the paper's own models, test set and misclassified)"
                if source in PUBLISHED
                else "not in the paper: one step on the mean of network, LR, SVM and soft kNN",
                ", ".join(f"{100 * cell.rate:.2f}" for cell in cells),
            )
        )
    right = ", ".join(f"{name} {share.rate:.1%}" for name, share in zip(made.names, made.right, strict=True))
    setting = f"trained on {TRAIN:,} images; one step, leaf search for the tree"
    return [
        *figures,
        Figure(f"the same models: accuracy on the {TEST} images as they are ({setting})", "measured", right),
    ]


def substitutes(models: dict[str, Target], test: Tensor, labels: Tensor) -> list[Figure]:
    """Each model as a black box: labels alone, from 100 images it is not judged on."""
    seeds, x, y = test[TEST:], test[:TEST], labels[:TEST]
    kinds: dict[str, Callable[[], nn.Module | None]] = {
        "network": lambda: None,
        "logistic regression": lambda: logistic((1, 28, 28), 10),
    }
    figures = []
    for kind, network in kinds.items():
        parts, queries = [], 0
        for name, model in models.items():
            oracle = model.restrict(Access.LABELS)
            learnt = Substitute(rounds=6, reservoir=400).learn(oracle, seeds, network(), classes=10)
            right = oracle.labels(x) == y
            found = attack(Transfer(learnt.target, FGSM()), oracle, x[right], y[right], Threat(Linf(RADIUS)))
            agreed = float((learnt.target.labels(x) == oracle.labels(x)).float().mean())
            parts.append(f"{name} {float(found.broken.float().mean()):.1%} (agrees on {agreed:.0%})")
            queries = learnt.queries
        figures.append(
            Figure(
                f"MNIST black boxes, labels only, a {kind} as substitute, {SEEDS} seeds and {queries:,} queries: "
                f"lost to one step at linf {RADIUS}, of those right among {TEST}",
                "the paper has 96.19 % and 88.94 % on two hosted services (arXiv:1605.07277)",
                ", ".join(parts),
            )
        )
    return figures
