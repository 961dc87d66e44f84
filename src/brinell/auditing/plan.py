"""Plans: the ordered stages of an audit, as plain data that is printed before it runs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from brinell.access import Access
from brinell.catalog import CATALOG, Row
from brinell.errors import CannotRun, UsageError, did_you_mean
from brinell.evidence import Soundness

When = Literal["always", "unaligned", "suspicion", "paying"]

_NEURONS = 2**17
"""Of about how many neurons, over all its examples, a proof is asked at once."""


class Stage(BaseModel):
    """One engine with its settings, asked about whatever is still open.

    engine: a name of the catalogue. settings: its arguments, by name; an objective is given by its name.
    shard: examples asked about together, at most, where the plan's own number does not suit. on: the examples it is
    asked about. `certified` has an attack challenge what was proved: a witness there is a contradiction, and stops the
    run. `unbroken` are those without a witness at any distance. below: an access; the stage is for targets that show
    less than it. sets: the perturbation sets it is meant for, by name; empty for all that its engine answers for.
    sample: asked about so many open examples at most: an attack about those whose margin a short ascent raises most, a
    proof about those the target is surest of. at: `each` radius in turn, or once at an `infinite` one, where the engine
    seeks the smallest perturbation or the largest certificate; None is as the engine does.

    when: `unaligned` is unless the diagnosis found gradients aligned on the way that an attack goes, and no probe in
    front of it broke anything. `suspicion` is only where gradients were found misleading: a probe with an attack
    broke what the stages in front of it had left open, or the diagnosis says so. `paying` is only where the last stage
    of the same engine settled at least `worth` of the examples it was asked about, and one at least. within: the stage
    ends when it has taken so many times the seconds of all stages in front of it; None lets it end by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    settings: dict[str, Any] = Field(default_factory=dict)
    shard: int | None = Field(default=None, ge=1)
    on: Literal["open", "certified", "unbroken"] = "open"
    below: Literal["scores", "gradients", "weights"] | None = None
    sets: tuple[str, ...] = ()
    sample: int | None = Field(default=None, ge=1)
    at: Literal["each", "infinite"] | None = None
    when: When = "always"
    worth: float = Field(default=0.0, ge=0, le=1)
    within: float | None = Field(default=None, gt=0)

    def fits(self, access: Access, max_access: Access, name: str | None = None) -> bool:
        """Whether it is meant for a target that shows this much, and for this set.

        max_access: what may be seen of the target, which may be more. name: of the set; None for any.
        """
        meant = name is None or not self.sets or name in self.sets
        return (
            meant
            and not self.beyond(access, max_access)
            and (self.below is None or access < Access[self.below.upper()])
        )

    def beyond(self, access: Access, max_access: Access) -> bool:
        """Whether it needs to see more. An exact engine reads a model, whether or not the model has gradients."""
        return self.row.access > (max_access if self.row.kind == "exact" else access)

    def answers_for(self, name: str) -> bool:
        """Whether it has anything to say about a perturbation set of this name."""
        return not self.row.sets or name in self.row.sets

    @property
    def attacks(self) -> bool:
        """Whether it searches for witnesses alone, beyond a first look."""
        return self.row.kind == "attack" and self.engine != "Clean"

    @property
    def row(self) -> Row:
        """The engine's row of the catalogue."""
        return find(self.engine)

    @property
    def infinite(self) -> bool:
        """Whether it is asked once, at an infinite radius."""
        return self.row.smallest if self.at is None else self.at == "infinite"

    @property
    def probes(self) -> bool:
        """Whether what it breaks says that gradients mislead."""
        return self.sample is not None and self.when in ("always", "unaligned") and self.row.kind == "attack"

    @property
    def label(self) -> str:
        """What a person reads: `PGD(steps=10)`."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        sample = "" if self.sample is None else f" on {self.sample} at most"
        return f"{self.engine}({settings})" + sample + ("" if self.on == "open" else f" on the {self.on}")

    @property
    def condition(self) -> str | None:
        """When it is asked, as a person reads it; None where it always is."""
        bound = "" if self.within is None else f", for {self.within:g} times the seconds spent before it at most"
        match self.when:
            case "always":
                return bound.removeprefix(", ") or None
            case "unaligned":
                return f"unless the diagnosis finds gradients aligned and no probe breaks anything{bound}"
            case "suspicion":
                return f"if a probe or the diagnosis finds that gradients mislead{bound}"
            case "paying":
                share = f"{self.worth:.0%}" if self.worth else "one"
                return f"if the {self.engine} before it settled {share} of its examples at least{bound}"


LOOK = Stage(engine="Clean").label
"""The first stage of every plan: what the target says of the examples as they are."""


class Plan(BaseModel):
    """Stages, cheapest first. shard: examples attacked together; a killed run loses at most one shard a worker.

    A quarter as many are proved together: proofs take longer, and gain nothing from company. soundness: the level of
    arithmetic from which a certificate counts; an example with weaker ones alone stays open, and is asked about again.
    The first stage is Clean, and no stage comes twice: the ledger tells stages apart by their labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stages: tuple[Stage, ...]
    shard: int = Field(default=128, ge=1)
    soundness: Soundness = Soundness.REAL

    @model_validator(mode="after")
    def _in_order(self) -> "Plan":
        labels = [stage.label for stage in self.stages]
        if labels[:1] != [LOOK] and (not labels or any(map(_evades, self.stages))):
            raise UsageError("the first stage must be {engine: Clean}: it says what the target does unperturbed")
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise UsageError(f"stage {twice} comes twice; leave one out, or give it other settings")
        return self

    def size(self, stage: Stage, neurons: Callable[[], int | None] = lambda: None) -> int:
        """Examples a shard of this stage, at most.

        A proof about a small network costs many times as much one by one as together. One that may be cut short, which
        comes when few are open, is asked about fewer of a large network: a shard that is cut has settled nothing.
        neurons: how many the network has, where it can be read; asked for only where a proof's size depends on it.
        """
        if stage.shard is not None:
            return stage.shard
        usual = self.shard if stage.row.kind == "attack" else max(1, self.shard // 4)
        if stage.row.kind != "proof" or (count := neurons()) is None:
            return usual
        fitting = _NEURONS // max(1, count)
        return max(usual, min(self.shard, fitting)) if stage.within is None else max(4, fitting)

    def demanding(self, soundness: str | Soundness) -> "Plan":
        """The same, where certificates count from this level on: real, float64 or float32."""
        return self.model_copy(update={"soundness": Soundness.of(soundness)})

    def for_access(self, access: Access, max_access: Access | None = None, name: str | None = None) -> "Plan":
        """Only the stages meant for a target that shows this much, and for this set.

        max_access: what may be seen of the target, if that is more. name: of the set; None for any.
        """
        kept = tuple(s for s in self.stages if s.fits(access, access if max_access is None else max_access, name))
        return self.model_copy(update={"stages": kept})


def _evades(stage: Stage) -> bool:
    """Whether a stage is one of evasion, which needs a first look."""
    return any(row.name == stage.engine and row.question == "evasion" for row in CATALOG)


_NOT_STAGES = ("learner", "transformation", "estimate")


def find(engine: str) -> Row:
    """The row of the catalogue with this name. Raises UsageError, naming the nearest ones."""
    for row in CATALOG:
        if row.name == engine and row.kind not in _NOT_STAGES:
            return row
        if row.name == engine and row.kind == "transformation":
            raise UsageError(f"{engine} is no search; give attacks a Transformed target in Python")
        if row.name == engine and row.kind == "estimate":
            raise UsageError(f"{engine} is an estimate: it proves nothing, and has no place in a bracket")
        if row.name == engine:
            raise UsageError(
                f"{engine} learns from examples before anything is attacked; call {engine}().learn from Python"
            )
    names = [row.name for row in CATALOG if row.kind not in _NOT_STAGES]
    raise UsageError(f"engine {engine!r} is not known{did_you_mean(engine, names)}; there are {', '.join(names)}")


def load_plan(plan: "str | Path | Plan", presets: Mapping[str, Plan] = MappingProxyType({})) -> Plan:
    """One of the presets by its name, or a plan in a .json, .yaml or .yml file."""
    if isinstance(plan, Plan):
        return plan
    if str(plan) in presets:
        return presets[str(plan)]
    path = Path(plan)
    if path.suffix not in (".json", ".yaml", ".yml"):
        likely = did_you_mean(str(plan), presets)
        raise UsageError(
            f"plan {str(plan)!r} is not known{likely}; give {', '.join(presets)}, or a .json or .yaml file"
        )
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
        loaded = Plan.model_validate(data)
        for stage in loaded.stages:
            stage.row  # noqa: B018 - an unknown engine is refused here
    except OSError as error:
        raise CannotRun(f"plan {path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        if isinstance(error, UsageError):
            raise
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = _where(first) if first else str(error).splitlines()[0]
        raise UsageError(f"plan {path} is not a plan: {where}") from error
    return loaded


class _Loader(yaml.SafeLoader):
    """Safe, and `on` is a word, as YAML 1.2 has it, and not a truth value."""


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if first not in "oO" or not rule[0].endswith(":bool")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _where(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"]))
    return (f"{place}: " if place else "") + error["msg"].removeprefix("Value error, ")
