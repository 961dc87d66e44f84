"""brinell.toml: what a project asks of its model, so that `brinell audit` and `brinell gate` need no options."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from brinell import catalog
from brinell.errors import CannotRun, UsageError, did_you_mean

QUESTIONS = tuple(row.name for row in catalog.QUESTIONS)
"""What may be asked of a model."""

Number = int | float


class ThreatSet(BaseModel):
    """A perturbation set and its radii: `{set = "linf", radii = ["2/255", "8/255"]}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    set: str = Field(description="linf, l2, l1, l0, pixels, or features:RULES.toml")
    radii: list[Number | str] = Field(min_length=1, description="numbers, or quotients such as 8/255")

    def __str__(self) -> str:
        return f"{self.set}:{','.join(map(str, self.radii))}"


class Config(BaseModel):
    """Keys of brinell.toml. Each stands for an option, which wins where it is given. Files are beside brinell.toml."""

    model_config = ConfigDict(extra="forbid", strict=True, title="brinell.toml")

    model: str | None = Field(
        default=None, description="FILE.py:FACTORY, package.module:FACTORY, .pt2, .onnx, .skops, or digits"
    )
    weights: str | None = Field(default=None, description="weights for the factory")
    data: str | None = Field(default=None, description=".npz, idx, a folder of images, .csv, .parquet, or digits")
    label: str | None = Field(default=None, description="label column of a table")
    box: Literal["data"] | list[Number] | None = Field(
        default=None, description="valid inputs: [LOW, HIGH], or data for the range of each feature; [0, 1] if missing"
    )
    mean: Number | list[Number] | None = Field(
        default=None, description="the model sees (x - mean) / std: a number, or one a channel"
    )
    std: Number | list[Number] | None = Field(default=None, description="see mean")
    sets: list[str | ThreatSet] | None = Field(
        default=None,
        min_length=1,
        description='perturbation sets with their radii: "linf:8/255", or {set = "linf", radii = ["8/255"]}; one a run',
    )
    goal: str | int | None = Field(default=None, description="untargeted, least-likely, or the class to be reached")
    access: str | None = Field(default=None, description="what the adversary sees: labels, scores, gradients, weights")
    queries: int | None = Field(default=None, ge=1, description="queries that an attack may spend on an example")
    ask: list[str] = Field(default=list(QUESTIONS), min_length=1, description=f"questions: {', '.join(QUESTIONS)}")
    plan: str | None = Field(default=None, description="quick, standard, full, autoattack, or a .json or .yaml file")
    soundness: str | None = Field(
        default=None, description="arithmetic that certificates must hold in: real, float64, float32"
    )
    n: int | None = Field(default=None, ge=1, description="examples, drawn by the seed; all if missing")
    balanced: bool | None = Field(default=None, description="draw equally many of each class")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="decides the sample and every random choice")
    budget: str | Number | None = Field(default=None, description="time to search for: 90, 90s, 5m, 1h")
    workers: int | None = Field(default=None, ge=1, description="threads; one a core if missing")
    accept: list[str] | None = Field(default=None, description="severe findings to go on in spite of, by their codes")
    out: str | None = Field(default=None, description="the run's folder: audit writes it, gate reads it")
    gates: list[str] | None = Field(default=None, description='requirements of gate: "unbroken@8/255>=0.4"')
    baseline: str | None = Field(default=None, description="a run that gate compares with")


_HEAD = "# What brinell audit and brinell gate ask of this model. An option of the command wins over its line."

_SHOWN: dict[str, str] = {
    "model": "",
    "weights": '"net.safetensors"',
    "data": "",
    "label": '"label"',
    "box": "[0, 1]",
    "mean": "[0.485, 0.456, 0.406]",
    "std": "[0.229, 0.224, 0.225]",
    "n": "300",
    "balanced": "true",
    "sets": '["linf:2/255,8/255"]',
    "goal": '"untargeted"',
    "access": '"weights"',
    "queries": "1000",
    "ask": '["evasion", "calibration"]',
    "plan": '"standard"',
    "soundness": '"float32"',
    "budget": '"10m"',
    "workers": "2",
    "seed": "0",
    "accept": '["zero-gradients"]',
    "out": '"runs/main"',
    "gates": '["clean>=0.8", "unbroken@2/255>=0.5"]',
    "baseline": '"runs/before"',
}
"""What the written file says of each key, in its order."""

_ACTIVE = ("model", "data", "n", "sets", "ask", "plan", "out", "gates")


def template(model: str, data: str) -> str:
    """A commented brinell.toml for this model and these examples."""
    values = _SHOWN | {"model": _quoted(model), "data": _quoted(data)}
    active = list(_ACTIVE)
    beside = Path(model.rpartition(":")[0]).with_suffix(".safetensors") if ".py:" in model else None
    if beside is not None and beside.is_file():
        values["weights"] = _quoted(str(beside))
        active.append("weights")

    lines = [_HEAD]
    for key, value in values.items():
        lines += ["", f"# {Config.model_fields[key].description}", f"{'' if key in active else '# '}{key} = {value}"]
    return "\n".join(lines) + "\n"


def options_of(file: Path) -> dict[str, Any]:
    """The options that a file stands for, by the names of the commands' parameters.

    Raises UsageError naming the key that is wrong, CannotRun where the file cannot be read.
    """
    config = read(file)
    if unknown := [name for name in config.ask if name not in QUESTIONS]:
        raise UsageError(
            f"{file}: ask: {unknown[0]!r} is no question{did_you_mean(unknown[0], QUESTIONS)}; "
            f"there are {', '.join(QUESTIONS)}"
        )
    if config.sets is not None and len(config.sets) > 1:
        raise UsageError(
            f"{file}: sets has {len(config.sets)} entries, and a run is about one; keep one, and give others with --set"
        )
    folder = file.parent
    options = {
        "model": _beside(folder, config.model),
        "weights": _beside(folder, config.weights),
        "data": _beside(folder, config.data),
        "label": config.label,
        "box": _listed(config.box),
        "mean": _listed(config.mean),
        "std": _listed(config.std),
        "set_": None if config.sets is None else _rules_beside(folder, str(config.sets[0])),
        "goal": None if config.goal is None else str(config.goal),
        "access": config.access,
        "queries": config.queries,
        "ask": ",".join(config.ask),
        "plan": _beside(folder, config.plan),
        "soundness": config.soundness,
        "n": config.n,
        "balanced": config.balanced,
        "seed": config.seed,
        "budget": None if config.budget is None else str(config.budget),
        "workers": config.workers,
        "accept": config.accept,
        "out": _within(folder, config.out),
        "run": _within(folder, config.out),
        "require": config.gates,
        "baseline": _within(folder, config.baseline),
    }
    return {name: value for name, value in options.items() if value is not None}


def read(file: Path) -> Config:
    """The keys of a file, checked. Raises as `options_of` does."""
    try:
        text = file.read_text(encoding="utf-8")
        return Config.model_validate(tomllib.loads(text))
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(_told(file, text, error.errors())) from None
    except ValueError as error:  # not TOML, or not text
        raise UsageError(f"{file} is not TOML: {error}") from None


def _told(file: Path, text: str, errors: Sequence[ErrorDetails]) -> str:
    """The first mistake: the line and the key, what is wrong with it, and what was probably meant."""
    error = max(errors, key=lambda e: (e["type"] == "extra_forbidden", len(e["loc"])))
    path = _path(error)
    top = str(path[0])
    begins = re.compile(rf"\s*\[*{re.escape(top)}\b")
    line = next((number for number, said in enumerate(text.splitlines(), 1) if begins.match(said)), None)
    place = f"{file}:{line}" if line else str(file)
    key = ".".join(map(str, path))

    if error["type"] == "extra_forbidden":
        known = Config.model_fields if len(path) == 1 else ThreatSet.model_fields
        likely = did_you_mean(str(path[-1]), known)
        return f"{place}: the key {key} is not known{likely}" + ("" if likely else f"; there are {', '.join(known)}")
    if sum(_path(other) == path for other in errors) > 1:  # it is of none of several kinds
        return f"{place}: {key} is not understood; {Config.model_fields[top].description}"
    return f"{place}: {key}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _path(error: ErrorDetails) -> list[str | int]:
    """Where an error is, without the kinds that a value might have been of."""
    kinds = ("str", "int", "float", "ThreatSet")
    return [part for part in error["loc"] if part not in kinds and "[" not in str(part)]


def _beside(folder: Path, name: str | None) -> str | None:
    """A file or FILE.py:FACTORY beside the configuration; other words, such as digits, are left alone."""
    if name is None or folder == Path():
        return name
    file, colon, factory = name.rpartition(":") if ".py:" in name else (name, "", "")
    return f"{folder / file}{colon}{factory}" if (folder / file).exists() else name


def _rules_beside(folder: Path, text: str) -> str:
    """A set, whose file of rules is beside the configuration."""
    name, _, rest = text.partition(":")
    rules, colon, radii = rest.rpartition(":")
    return f"{name}:{_beside(folder, rules)}:{radii}" if colon else text


def _within(folder: Path, name: str | None) -> str | None:
    return None if name is None else str(folder / name)


def _listed(value: Number | str | Sequence[Number] | None) -> str | None:
    """Numbers as the command line has them."""
    return None if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _quoted(text: str) -> str:
    """A TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
