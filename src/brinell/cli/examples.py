"""`brinell example`: small models and data for the commands of the README, made anew on each machine in seconds."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brinell.cli.runs import check_place
from brinell.data import Dataset, load
from brinell.errors import CannotRun, MissingExtra, UsageError

_NET = '''"""A network for handwritten digits of 8 x 8 pixels."""

from torch import nn


def build() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
'''

_RISK = '''"""A network for a table: the risk rises with age and pressure; with the dose it falls, and then rises."""

import torch
from torch import nn


def build() -> nn.Module:
    first = nn.Linear(3, 4)
    last = nn.Linear(4, 2)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[0.05, 0, 0], [0, 0.02, 0], [0, 0, 1], [0, 0, 1]]))
        first.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -2.0]))
        last.weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 1, -1, 3]]))
        last.bias.copy_(torch.tensor([0.0, -4.5]))
    return nn.Sequential(first, nn.ReLU(), last)
'''

_NEAR = 0.01
_FAR = 0.2
"""linf radii of the two properties: what is proved in a second, and what is broken in one."""


def write(folder: Path) -> Iterator[tuple[Path, str]]:
    """Write each file, and yield it with what it is; what needs an extra that is missing is said in its place.

    Raises UsageError before anything is written where one of the files is there.
    """
    check_place(folder, "FOLDER")
    if there := [name for name in (*_FILES, "net.safetensors") if (folder / name).exists()]:
        raise UsageError(f"{folder / there[0]} exists already; name an empty folder: brinell example try")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{folder} cannot be made: {error.strerror}") from error
    train, test = load("digits:train"), load("digits")
    net = _trained(train)
    for name, (about, writer) in _FILES.items():
        try:
            writer(folder / name, net, test)
        except ImportError as error:
            yield folder / name, f"left out: {MissingExtra(str(error.name), _EXTRAS[name])}"
        else:
            yield folder / name, about


def _trained(train: Dataset) -> nn.Sequential:
    """The network of net.py after a second of plain training: easy to break beyond small radii."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):  # building layers draws: the caller's generator must not notice
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(value, generator=rng)
            else:
                value.zero_()

    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(train.x), train.y).backward()
        optimiser.step()
    return net.eval()


def _network(file: Path, net: nn.Sequential, _: Dataset) -> None:
    from safetensors.torch import save_model

    file.write_text(_NET, encoding="utf-8")
    save_model(net, str(file.with_suffix(".safetensors")))


def _examples(file: Path, _: nn.Sequential, test: Dataset) -> None:
    import numpy as np

    np.savez(file, x=test.x.numpy(), y=test.y.numpy())


def _onnx(file: Path, net: nn.Sequential, _: Dataset) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {name.replace(".", ""): value.detach().numpy() for name, value in net.named_parameters()}
    nodes = [
        helper.make_node("Flatten", ["x"], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "1weight", "1bias"], ["before"], transB=1),
        helper.make_node("Relu", ["before"], ["after"]),
        helper.make_node("Gemm", ["after", "3weight", "3bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))


def _classifier(file: Path, _: nn.Sequential, __: Dataset) -> None:
    import skops.io
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    digits = load_digits()
    skops.io.dump(SVC().fit(digits.data[:1000] / 16, digits.target[:1000]), file)


def _property(radius: float) -> Callable[[Path, nn.Sequential, Dataset], None]:
    """Writes what is unsafe: an input within the radius of the first example that another class wins at."""

    def writer(file: Path, _: nn.Sequential, test: Dataset) -> None:
        x = test.x[0].flatten().double()
        low, high = (x - radius).clamp(min=0).tolist(), (x + radius).clamp(max=1).tolist()
        label = int(test.y[0])
        lines = [f"; is every input within linf {radius} of the first example a {label}?"]
        lines += [f"(declare-const X_{i} Real)" for i in range(len(low))]
        lines += [f"(declare-const Y_{i} Real)" for i in range(10)]
        for i, (least, most) in enumerate(zip(low, high, strict=True)):
            lines += [f"(assert (>= X_{i} {least!r}))", f"(assert (<= X_{i} {most!r}))"]
        others = " ".join(f"(and (>= Y_{i} Y_{label}))" for i in range(10) if i != label)
        file.write_text("\n".join([*lines, f"(assert (or {others}))", ""]), encoding="utf-8")

    return writer


def _instances(file: Path, _: nn.Sequential, __: Dataset) -> None:
    file.write_text("net.onnx,near.vnnlib,60\nnet.onnx,far.vnnlib,60\n", encoding="utf-8")


def _risk(file: Path, _: nn.Sequential, __: Dataset) -> None:
    file.write_text(_RISK, encoding="utf-8")


def _table(file: Path, _: nn.Sequential, __: Dataset) -> None:
    """Rows drawn at random, labelled as risk.py would, but for one in twenty."""
    rng = torch.Generator().manual_seed(0)
    draws = torch.rand(200, 4, generator=rng, dtype=torch.float64)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("age", "pressure", "dose", "ill"))
        for first, second, third, chance in draws.tolist():
            age, pressure, dose = 20 + round(60 * first), 90 + round(90 * second), round(4 * third, 1)
            risk = 0.05 * age + 0.02 * pressure - dose + 3 * max(dose - 2, 0) - 4.5
            writer.writerow((age, pressure, dose, int((risk > 0) != (chance < 0.05))))


_FILES: dict[str, tuple[str, Callable[[Path, nn.Sequential, Dataset], Any]]] = {
    "net.py": ("a network for handwritten digits; its weights are in net.safetensors", _network),
    "test.npz": ("797 labelled examples, x and y", _examples),
    "net.onnx": ("the same network as an ONNX file", _onnx),
    "near.vnnlib": (f"can a change of {_NEAR} in each pixel of the first example flip the answer?", _property(_NEAR)),
    "far.vnnlib": (f"can one of {_FAR}?", _property(_FAR)),
    "instances.csv": ("both properties, with a time limit each", _instances),
    "classifier.skops": ("a support vector machine for the same digits", _classifier),
    "risk.py": ("a network for a table", _risk),
    "risk.csv": ("200 rows of age, pressure, dose, and whether ill", _table),
}
_EXTRAS = {"net.onnx": "onnx", "classifier.skops": "sklearn"}
