"""What a command line names: a model, examples, a perturbation set. Kept with a run, so that it can be resumed."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from brinell.access import Access
from brinell.data import Dataset
from brinell.data import load as load_data
from brinell.errors import UsageError, did_you_mean
from brinell.targets import Target
from brinell.targets import load as load_target
from brinell.threat import (
    L0,
    L1,
    L2,
    LEAST_LIKELY,
    UNTARGETED,
    Box,
    Features,
    Goal,
    Linf,
    PerturbationSet,
    Pixels,
    Targeted,
)
from brinell.threat.radius import parse_radius
from brinell.threat.rules import read_rules

DIGITS = "digits"
FEATURES = "features"

_SETS: dict[str, Callable[[float], PerturbationSet]] = {
    "linf": Linf,
    "l2": L2,
    "l1": L1,
    "l0": L0,
    "pixels": Pixels,
}
_DEFAULT_SETS = {DIGITS: "linf:0.02,0.05,0.1"}


class Sources(BaseModel):
    """The options that say what is audited, as they were given; paths are absolute, so that a run can be moved to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    data: str
    set: str
    weights: str | None = None
    label: str | None = None
    box: str | None = None
    mean: str | None = None
    std: str | None = None
    n: int | None = None
    balanced: bool = False
    goal: str = "untargeted"
    access: str = "weights"
    queries: int | None = None
    seed: int = 0

    def load(self) -> tuple[Dataset, Target]:
        """(the sample, the model in the units of the data)."""
        data = load_data(self.data, label=self.label)
        box = _box(self.box, data)  # of all the data: it does not change with the sample
        mean, std = _numbers(self.mean, "mean"), _numbers(self.std, "std")
        if self.model != DIGITS:
            target = load_target(self.model, weights=self.weights, box=box, mean=mean, std=std)
        elif (self.weights, mean, std) != (None, None, None):
            raise UsageError(f"the embedded model {DIGITS} takes no --weights, --mean or --std; leave them out")
        else:
            from brinell.demo import digits_network

            target = load_target(digits_network(), box=box)
        target = target.restrict(_access(self.access))
        sample = data if self.n is None else data.take(self.n, self.seed, self.balanced)
        return sample.meeting(target.classes, target.features, target.box), target

    def sets(self) -> tuple[PerturbationSet, tuple[float, ...]]:
        """(the set at its largest radius, all radii). An infinite one is for attacks that seek the smallest change."""
        name, rules, numbers = self._parts()
        if name not in (*_SETS, FEATURES) or not numbers or (name == FEATURES) != bool(rules):
            likely = "" if name in _SETS else did_you_mean(name, (*_SETS, FEATURES))
            raise UsageError(
                f"--set {self.set!r} is not understood{likely}; write e.g. linf:8/255 or l2:0.25,0.5, or for a table "
                "features:RULES.toml:0.5"
            )
        radii = tuple(sorted({float("inf") if r == "inf" else parse_radius(r) for r in numbers.split(",")}))
        if name != FEATURES:
            return _SETS[name](radii[-1]), radii
        data = load_data(self.data, label=self.label)  # its columns have the names and the spread that rules speak of
        return Features(radii[-1], *read_rules(Path(rules), data.features, data.x)), radii

    def labels(self) -> dict[float, str]:
        """Every radius as it was written."""
        numbers = [text.strip() for text in self._parts()[2].split(",")]
        return {float("inf") if text == "inf" else parse_radius(text): text for text in reversed(numbers)}

    def _parts(self) -> tuple[str, str, str]:
        """(name, file of rules, radii) of the set."""
        name, _, rest = self.set.partition(":")
        rules, _, numbers = rest.rpartition(":")
        return name, rules, numbers

    def goals(self) -> Goal:
        """What the adversary wants."""
        if self.goal == "untargeted":
            return UNTARGETED
        if self.goal == "least-likely":
            return LEAST_LIKELY
        if self.goal.isdecimal():
            return Targeted(int(self.goal))
        likely = did_you_mean(self.goal, ("untargeted", "least-likely"))
        raise UsageError(f"--goal {self.goal!r} is not known{likely}; give untargeted, least-likely, or a class number")


def default_set(model: str) -> str:
    """The embedded model's own radii. Raises UsageError for any other: nobody can guess which change matters."""
    if model in _DEFAULT_SETS:
        return _DEFAULT_SETS[model]
    raise UsageError(
        "--set is missing: say how far an input may be changed, in its own units; "
        "e.g. --set linf:8/255 for images in [0, 1]"
    )


def absolute(name: str) -> str:
    """The same model or data name, independent of the working folder; words that name no file are left alone."""
    path, colon, factory = name.rpartition(":")
    if colon and path.endswith(".py"):
        return f"{Path(path).absolute()}:{factory}"
    if name.partition(":")[0] == DIGITS:
        return name
    return str(Path(name).absolute()) if Path(name).exists() else name


def absolute_set(text: str) -> str:
    """The same set, its file of rules named independently of the working folder."""
    name, _, rest = text.partition(":")
    rules, colon, numbers = rest.rpartition(":")
    return f"{name}:{Path(rules).absolute()}:{numbers}" if name == FEATURES and colon else text


def _box(text: str | None, data: Dataset) -> Box:
    """0,1 unless given; `data` spans what is seen of each feature."""
    if text is None:
        return Box(0.0, 1.0)
    if text == "data":
        low, high = data.x.amin(0).flatten(), data.x.amax(0).flatten()
        high = high.where(high > low, low + 1)
        return Box.of((low.tolist(), high.tolist()))
    limits = _numbers(text, "box")
    if not isinstance(limits, list) or len(limits) != 2:
        raise UsageError(f"--box {text!r} is not understood; write e.g. 0,1, or data for the range of each feature")
    return Box.of((limits[0], limits[1]))


def _numbers(text: str | None, name: str) -> float | list[float] | None:
    if text is None:
        return None
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--{name} {text!r} is not understood; write a number, or one a channel: 0.5,0.5,0.5"
        ) from None
    return values[0] if len(values) == 1 else values


def _access(text: str) -> Access:
    try:
        return Access[text.upper()]
    except KeyError:
        names = [access.name.lower() for access in Access]
        likely = did_you_mean(text, names)
        raise UsageError(f"--access {text!r} is not known{likely}; give one of {', '.join(names)}") from None
