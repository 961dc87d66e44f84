"""Calls that nobody in their senses makes: of the command line, and of Python with arguments of the wrong kind.

Whatever it is, the answer is a result or one line: in Python an exception of Brinell's own, on the command line an exit
code of the README's table, and never 70, a mistake of its own. `python -m benchmarks.fuzz_calls COUNT SEED PROCESSES`.
"""

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import brinell
from benchmarks.figure import Figure
from brinell import catalog
from brinell.errors import BrinellError

COUNT = 10_000

CODES = {0, 2, 3, 4}
"""What a command may end with; 1 is the gate's, and that of a property or a rise that is refuted."""

REFUTING = ("gate", "decide", "monotone")

PROCESSES = 20
"""Commands of a run that are run as processes of their own."""

MODELS = """
import torch
from torch import nn


def net(features=4, classes=3):
    made = nn.Sequential(nn.Flatten(), nn.Linear(features, 6), nn.ReLU(), nn.Linear(6, classes))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn(p.shape, generator=rng))
    return made


def build():
    return net()


def double():
    return net().double()


def narrow():
    return net(classes=1)


def wide():
    return net(features=5)


def quantized():
    return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})


class Odd(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.net = how, net()

    def forward(self, x):
        if self.how == "raises" or (self.how == "moody" and bool((x.flatten(1)[:, 0] > 0.6).any())):
            raise RuntimeError("no such input")
        scores = self.net(x)
        x.zero_() if self.how == "spoils" else None
        return {"nan": scores * float("nan"), "none": None, "dict": {"scores": scores}, "flat": scores.sum(1)}.get(
            self.how, scores
        )


raises, moody, spoils, nan, none, dict_, flat = (
    lambda how=how: Odd(how) for how in ("raises", "moody", "spoils", "nan", "none", "dict", "flat")
)
number = 3


def crooked():
    return 1 / 0
"""

PLAN = """
name: tiny
shard: 4
stages:
  - engine: Clean
  - {engine: PGD, settings: {steps: 2}}
  - engine: IBP
"""


@dataclass
class Tally:
    """How the calls ended, and those that ended as none may."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, what: str, how: str, fault: str = "") -> None:
        """One call."""
        self.ends[how] += 1
        if fault:
            self.faults.append(f"{what}: {fault}")


def run() -> list[Figure]:
    """Half of the calls on the command line, half in Python."""
    tally = fuzz(COUNT, 0, PROCESSES)
    ended = ", ".join(f"{count} {how}" for how, count in tally.ends.most_common())
    return [Figure("calls that end in a traceback", f"0 of {COUNT}", f"{len(tally.faults)} ({ended})")]


def fuzz(count: int, seed: int, processes: int = 0, on_fault: Callable[[str], None] = lambda fault: None) -> Tally:
    """So many calls, every other one a command; the same for the same seed."""
    chance, tally = random.Random(seed), Tally()
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            words = Words(Path(folder), chance)
            for number in range(count):
                faults = len(tally.faults)
                if number % 2:
                    call_python(chance, tally)
                else:
                    call_command(words.command(), tally, in_process=number >= 2 * processes)
                for fault in tally.faults[faults:]:
                    on_fault(fault)
        finally:
            os.chdir(back)
    return tally


class Words:
    """Command lines of words that fit, and of words that do not."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        (folder / "net.py").write_text(MODELS)
        (folder / "plan.yaml").write_text(PLAN)
        (folder / "empty").mkdir()
        rng = np.random.default_rng(0)
        x, y = rng.random((12, 4)), rng.integers(0, 3, 12)
        for name, pair in {
            "good": (x.astype(np.float32), y),
            "double": (x, y),
            "images": (rng.integers(0, 256, (12, 1, 2, 2), dtype=np.uint8), y),
            "nan": (x * np.nan, y),
            "far": (1e6 * x, y),
            "floats": (x, y + 0.5),
            "negative": (x, y - 2),
            "large": (x, y + 90),
            "short": (x, y[:5]),
            "none": (x[:0], y[:0]),
            "one": (x[:1], y[:1]),
            "words": (x, np.array(["a"] * 12)),
        }.items():
            np.savez(folder / f"{name}.npz", x=pair[0], y=pair[1])
        rows = [",".join([*(f"{v:.3f}" for v in row), str(label)]) for row, label in zip(x, y, strict=True)]
        (folder / "table.csv").write_text("\n".join(["a,b,c,d,label", *rows]))
        (folder / "bad.csv").write_text("a,b\n1,x\n")
        (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:200])
        (folder / "junk.onnx").write_bytes(b"\x08\x09junk")
        (folder / "junk.vnnlib").write_text("(assert (<= X_0")
        torch.save(nn.Linear(2, 2), folder / "pickled.pt")

    def command(self) -> list[str]:
        """One command line."""
        names = ("audit", "check", "attack", "diagnose", "verify", "radius", "monotone", "transfer", "plain")
        name = self.chance.choice(names)
        if name == "plain":
            return self._plain()
        words = [name]
        if name == "attack":
            words.append(self._some([row.name for row in catalog.CATALOG], ["PGD", "FGSM", "Nobody", "", "pgd"], 0.2))
        words += [self._model() for _ in range(2 if name == "transfer" else 1)]
        data = [f"{path.name}" for path in sorted(self.folder.glob("*.npz"))]
        others = ["table.csv", "bad.csv", "empty", "nowhere.npz", "junk.onnx", "junk.vnnlib", "-", "good.npz:"]
        words.append(self._some(["good.npz", "double.npz", "images.npz", "table.csv"], [*data, *others], 0.7))
        if self.chance.random() < 0.9 and name != "monotone":
            sets = ["linf:0.05", "l2:0.1", "l1:0.2", "linf:1/255,0.1", "l0:1"]
            strange = ["linf", "linf:", ":0.1", "linf:x", "linf:nan", "linf:-1", "linf:inf", "l2:1e9", "l9:1"]
            words += [
                "--set",
                self._some(sets, [*strange, "features:no.toml:1", "linf:1/0", "linf:0", "pixels:1"], 0.7),
            ]
        return [*words, *self._options(name)]

    def _plain(self) -> list[str]:
        run = self._some(["runs", "empty", "nowhere", "good.npz"], ["", ".", "\x00"], 0.8)
        return self.chance.choice(
            [
                ["gate", run, "--require", self._some(["clean>=0.5", "unbroken@0.1>=0.5"], ["x", ">=", "clean@>=1"])],
                ["compare", run, run],
                ["report", run],
                ["resume", run, "--budget", "1s"],
                ["list", self._some(["--json"], ["x", "--no"])],
                [self._some(["--help", "--version"], ["nothing", "-x", ""])],
                ["decide", "junk.onnx", "junk.vnnlib"],
                ["decide", self._some(["table.csv"], ["bad.csv", "nowhere.csv", "junk.onnx", "empty"])],
                ["list", self._some(["PGD", "CROWN"], ["pgd", "", "\x00"])],
                [
                    self._some(["audit", "gate"], ["check"]),
                    "--config",
                    self._some([], ["net.py", "nowhere.toml", "empty", ""]),
                ],
            ]
        )

    def _model(self) -> str:
        kinds = ("build", "double", "narrow", "wide", "quantized", "raises", "moody", "spoils", "nan", "none", "dict_")
        others = ["net.py", "net.py:", "net.py:nothing", "net.py:number", "net.py:crooked", "net.py:flat", "pickled.pt"]
        strange = ["junk.onnx", "good.npz", "nowhere.py:build", "a=net.py:build", "", ":", "os:getcwd", "empty"]
        return self._some([f"net.py:{kind}" for kind in kinds], [*others, *strange], 0.8)

    def _options(self, name: str) -> list[str]:
        known = {
            "--n": (["3", "12"], ["0", "-1", "x", "1e3", "99999999999999999999"]),
            "--box": (["0,1", "data", "0,255"], ["1,0", "0", "a,b", "nan,nan", "0,inf", "0,1,2", ""]),
            "--mean": (["0", "0.1"], ["x", "1,2", "nan", "inf", ""]),
            "--std": (["1", "2"], ["0", "-1", "x", "1,2,3", "nan"]),
            "--seed": (["0", "5"], ["-1", "x", "9223372036854775808"]),
            "--label": (["label"], ["nothing", ""]),
            "--weights": ([], ["nowhere.safetensors", "pickled.pt", "good.npz", "a=pickled.pt"]),
        }
        if name not in ("transfer", "monotone"):
            known["--goal"] = (["untargeted", "least-likely", "0"], ["9", "-1", "x", "99999999999999999999"])
        if name in ("audit", "verify", "radius"):
            known |= {
                "--workers": (["1"], ["0", "x", "-1"]),
                "--accept": (["low-accuracy", "raises", "outside-box"], ["nothing", ""]),
                "--soundness": (["real", "float32"], ["float8", ""]),
            }
        if name == "audit":
            known |= {"--access": (["labels", "scores"], ["x", ""]), "--queries": (["20"], ["0", "x"])}
        if name == "attack":
            known["--setting"] = (
                ["steps=2", "queries=5"],
                ["steps", "steps=x", "steps=-1", "=", "nothing=1", "steps=[1]"],
            )
        chosen = self.chance.sample(sorted(known), self.chance.choice((0, 0, 1, 1, 2, 3)))
        words = [word for option in chosen for word in (option, self._some(*known[option], 0.5))]
        if name == "audit":
            words += ["--plan", self._some(["plan.yaml"], ["quick", "nothing", "net.py", "table.csv", ""], 0.9)]
        if name in ("audit", "radius"):
            words += ["--budget", self._some(["1s"], ["0", "x", "-1s", "nan", "1e400"], 0.9)]
        if name == "monotone":
            words += [
                "--feature",
                self._some(["a:+0", "0:-1", "d:+2"], ["a", "a:+", "a:+9", "nothing:+", ":", ""], 0.6),
            ]
        if name in ("verify", "monotone"):
            words += ["--timeout", self._some(["1s"], ["0", "x"], 0.9)]
        if name == "attack" and "--setting" not in words:
            words += ["--setting", "steps=2"]
        return words + (["--json"] if self.chance.random() < 0.2 else [])

    def _some(self, good: list[str], bad: list[str], share: float = 0.5) -> str:
        return self.chance.choice(good if good and self.chance.random() < share else bad)


def call_command(words: list[str], tally: Tally, in_process: bool = True) -> None:
    """Run a command, and see that it ends as a command may."""
    code, said = _inside(words) if in_process else _outside(words)
    fault = ""
    if code not in CODES and not (code == 1 and words[0] in REFUTING):
        fault = f"exit {code}: {said[-1500:]}"
    elif "Traceback (most recent" in said:
        fault = said[-1500:]
    tally.note(f"brinell {' '.join(map(repr, words))}", f"exit {code}", fault)


def _inside(words: list[str]) -> tuple[object, str]:
    from brinell.cli import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    sys.argv = ["brinell", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as left:
        return left.code or 0, out.getvalue() + err.getvalue()
    except BaseException:  # noqa: BLE001 - it is what is looked for
        return "traceback", traceback.format_exc()
    finally:
        sys.argv = before
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
    return 0, out.getvalue() + err.getvalue()


def _outside(words: list[str]) -> tuple[object, str]:
    if any("\x00" in word for word in words):  # no process can be given one
        return _inside(words)
    done = subprocess.run([sys.executable, "-m", "brinell", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def call_python(chance: random.Random, tally: Tally) -> None:
    """One public call, some of its arguments replaced by others of any kind."""
    name, call, settings = chance.choice(list(_calls()))
    for key in chance.sample(sorted(settings), chance.choice((1, 1, 1, 2)) if len(settings) > 1 else 1):
        settings[key] = chance.choice(_values(chance))
    about = f"{name}({', '.join(f'{key}={str(value)[:60]!r}' for key, value in settings.items())})"
    try:
        call(**settings)
    except BrinellError as error:
        tally.note(about, type(error).__name__, "" if "\n" not in str(error) else f"more than one line: {error}")
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        tally.note(about, f"raised {type(error).__name__}", traceback.format_exc()[-1500:])
    else:
        tally.note(about, "returned")


def _net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def _calls() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    x = torch.linspace(0, 1, 24).reshape(6, 4)
    target = brinell.target(_net())
    y, threat = target.labels(x), brinell.Threat(brinell.Linf(0.05))
    plan = "/dev/null" if not Path("plan.yaml").exists() else "plan.yaml"
    pgd = brinell.evasion.PGD(steps=1)
    for name, made in {
        "Linf": {"radius": 0.1},
        "L2": {"radius": 0.1},
        "L1": {"radius": 0.1},
        "L0": {"radius": 1},
        "Pixels": {"radius": 1},
        "Masked": {"mask": torch.ones(4, dtype=torch.bool), "inner": brinell.Linf(0.1)},
        "Box": {"low": 0.0, "high": 1.0},
        "Targeted": {"target": 1},
        "Threat": {
            "set": brinell.Linf(0.1),
            "goal": brinell.LEAST_LIKELY,
            "access": brinell.Access.SCORES,
            "queries": 5,
        },
        "target": {"model": _net(), "box": (0, 1), "mean": 0.0, "std": 1.0},
        "load": {"model": _net(), "weights": None, "box": (0, 1), "mean": None, "std": None},
        "attack": {"attack": pgd, "target": target, "x": x, "y": y, "threat": threat, "seed": 0},
        "diagnose": {"target": target, "data": (x, y), "threat": threat, "seed": 0},
        "audit": {"target": target, "data": (x, y), "threat": threat, "plan": plan, "budget": 1.0, "radii": [0.1]},
        "verify": {"target": target, "data": (x, y), "threat": threat, "budget": 1.0, "workers": 1},
    }.items():
        settings: dict[str, Any] = dict(made)
        if name == "audit":
            settings |= {"seed": 0, "workers": 1, "out": None}
        yield name, getattr(brinell, name), settings
    yield "Box.of", brinell.Box.of, {"bounds": (0, 1)}
    yield "Dataset.of", brinell.Dataset.of, {"x": x, "y": y, "classes": ("a", "b", "c"), "source": "here"}
    yield "Audit.open", brinell.Audit.open, {"path": "runs"}
    yield "PGD", brinell.evasion.PGD, {"steps": 1, "restarts": 1, "random": True}
    yield "Square", brinell.evasion.Square, {"queries": 5}
    yield "CROWN", brinell.proofs.CROWN, {"slope": "adaptive", "precision": "float32", "memory": 1000}
    yield "Target.scores", target.scores, {"x": x}
    yield "Target.labels", target.labels, {"x": x}
    yield "Target.restrict", target.restrict, {"access": brinell.Access.LABELS}


def _values(chance: random.Random) -> list[Any]:
    numbers = [0, 1, -1, 3, 0.5, -0.5, float("nan"), float("inf"), 10**30, True, 1j, np.float32(0.1), np.int64(2)]
    texts = ["", "abc", "linf", b"bytes", "\x00", "1", Path("nowhere"), Path("good.npz")]
    held = [[], [1, 2], [[1.0, 2.0]], (), (1,), (0, 1), {}, {"a": 1}, {1, 2}, [None], ["a", "b"], range(3)]
    arrays = [np.zeros(3), np.zeros((6, 4)), np.zeros((6, 4), np.uint8), np.array(["a"]), np.array(None), np.array(1.0)]
    tensors = [
        torch.zeros(()),
        torch.zeros(3),
        torch.zeros(6, 4),
        torch.zeros(6, 5),
        torch.zeros(0, 4),
        torch.zeros(6, 4).half(),
        torch.zeros(6, 4, dtype=torch.int64),
        torch.full((6, 4), torch.nan),
        torch.zeros(6, dtype=torch.int64),
        torch.zeros(6, dtype=torch.complex64),
    ]
    own = [brinell.Linf(0.1), brinell.L2(float("inf")), brinell.Box(0.0, 1.0), brinell.Targeted(2), brinell.Linf]
    others = [None, object(), lambda: None, int, _net(), nn.Linear, brinell, Ellipsis, brinell.evasion.FGSM(), iter(())]
    return chance.choice((numbers, texts, held, arrays, tensors, own, others))


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = [int(word) for word in sys.argv[1:]]
    count, seed, processes = given + [COUNT, 0, PROCESSES][len(given) :]
    found = fuzz(count, seed, processes, lambda fault: print(fault, flush=True))
    print(dict(found.ends), len(found.faults), "faults")
    raise SystemExit(bool(found.faults))
