import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from brinell.errors import CannotRun, UsageError
from brinell.targets import load, target
from brinell.threat import Access
from targets.models import batch, mlp

CODE = """
import torch
from torch import nn
from helper_of_model import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(WIDTH, 3)
    def forward(self, x):
        return self.out(x)

class Wide(Net):
    def __init__(self, width):
        super().__init__()

def make():
    return Net()

def raises():
    raise KeyError("weights.bin")

def number():
    return 3

def _private():
    return Net()

ready = Net()

def fitted():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression().fit([[0.0], [1.0]], ["no", "yes"])

def unfitted():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression()
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "helper_of_model.py").write_text("WIDTH = 4\n")
    (tmp_path / "zoo.py").write_text(CODE)
    yield tmp_path / "zoo.py"
    for name in [n for n in sys.modules if n.startswith(("zoo", "helper_of_model"))]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["make", "Net", "ready", "_private"])
def test_a_name_in_a_file_is_a_factory_a_class_or_a_module(code, name):
    path, random = list(sys.path), torch.get_rng_state()
    asked = load(f"{code}:{name}")
    assert asked.scores(batch(5, 4)).shape == (5, 3)
    assert asked.copy().access == Access.WEIGHTS
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), random)


def test_a_name_in_a_package(code, monkeypatch):
    monkeypatch.chdir(code.parent)
    assert load("zoo:make").scores(batch(5, 4)).shape == (5, 3)
    with pytest.raises(CannotRun, match=r"no_such_package\.models cannot be imported: ModuleNotFoundError"):
        load("no_such_package.models:make")


def test_a_factory_may_give_an_estimator(code):
    asked = load(f"{code}:fitted")
    assert asked.classes == ("no", "yes")
    assert asked.labels(torch.tensor([[0.0], [1.0]])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        (
            "mkae",
            UsageError,
            "has no 'mkae'; it has: Net, Wide, make, raises, number, ready, fitted, unfitted",
        ),
        ("raises", CannotRun, "zoo.py:raises raised KeyError: 'weights.bin'; it is called without arguments"),
        ("Wide", CannotRun, "TypeError: .*missing 1 required positional argument: 'width'"),
        (
            "number",
            UsageError,
            "zoo.py:number gave a int; it must return an nn.Module or a fitted classifier",
        ),
        ("unfitted", UsageError, "fit it first"),
    ],
)
def test_a_factory_that_fails_is_one_line(code, name, kind, words):
    with pytest.raises(kind, match=words) as caught:
        load(f"{code}:{name}")
    assert "\n" not in str(caught.value)


def test_code_that_cannot_be_imported_is_one_line(tmp_path):
    (tmp_path / "broken.py").write_text("def make(:\n")
    with pytest.raises(CannotRun, match=r"broken.py cannot be imported: SyntaxError"):
        load(f"{tmp_path}/broken.py:make")
    with pytest.raises(UsageError, match=r"none.py: there is no such file"):
        load(f"{tmp_path}/none.py:make")


def test_code_that_leaves_is_not_the_end_of_the_program(tmp_path):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(CannotRun, match="SystemExit"):
        load(f"{tmp_path}/leaves.py:make")


def test_a_file_needs_the_name_of_its_factory(code):
    with pytest.raises(UsageError, match=r"as in .*zoo.py:FACTORY"):
        load(code)


def test_two_files_of_one_name_do_not_mix(tmp_path):
    for width in (4, 6):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "net.py").write_text(
            f"from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__({width}, 3)\n"
        )
    first, second = (load(f"{tmp_path}/{width}/net.py:Net") for width in (4, 6))
    assert first.copy().scores(batch(2, 4)).shape == second.copy().scores(batch(2, 6)).shape == (2, 3)


def test_weights_go_into_the_module_of_a_factory(code, tmp_path):
    save_file({"out.weight": torch.ones(3, 4), "out.bias": torch.zeros(3)}, tmp_path / "w.safetensors")
    asked = load(f"{code}:make", weights=tmp_path / "w.safetensors")
    assert asked.scores(torch.ones(1, 4)).tolist() == [[4.0, 4.0, 4.0]]
    with pytest.raises(UsageError, match="weights go into a torch module"):
        load(f"{code}:fitted", weights=tmp_path / "w.safetensors")


def test_objects_are_taken_as_they_are():
    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    assert load(LogisticRegression().fit(x, y)).access == Access.SCORES
    assert load(mlp(), mean=0.5).digest == target(mlp(), mean=0.5).digest
    asked = target(mlp())
    assert load(asked) is asked


def test_skops_files_are_loaded(tmp_path):
    import skops.io

    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    estimator = LogisticRegression().fit(x, y)
    skops.io.dump(estimator, tmp_path / "model.skops")
    asked = load(tmp_path / "model.skops")
    assert asked.labels(torch.from_numpy(x)).tolist() == estimator.predict(x).tolist()
    assert asked.digest == load(str(tmp_path / "model.skops")).digest


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pkl", "w.bin", "w.safetensors"])
def test_weights_alone_are_no_model(tmp_path, name):
    if name.endswith("safetensors"):
        save_file(mlp().state_dict(), tmp_path / name)
    else:
        torch.save(mlp().state_dict(), tmp_path / name)
    with pytest.raises(UsageError, match=f"holds weights only; give the factory.*weights={tmp_path / name}"):
        load(tmp_path / name)


def test_what_is_no_model_file_lists_what_is(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "notes.txt", tmp_path / "none.onnx", tmp_path, "resnet50"):
        with pytest.raises(UsageError, match=r"FILE.py:FACTORY, .*FILE.pt2, FILE.onnx, FILE.skops"):
            load(path)


def test_importing_costs_no_framework_that_is_not_used():
    heavy = "sklearn", "onnx", "onnxruntime", "skops", "pandas"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, brinell.targets; print([m for m in {heavy} if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.strip() == "[]"


def test_a_module_of_the_caller_keeps_its_weights(tmp_path):
    net = nn.Linear(4, 3)
    before = net.weight.clone()
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "w.pt")
    load(net, weights=tmp_path / "w.pt")
    assert torch.equal(net.weight, before)
