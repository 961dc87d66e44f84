"""Rules for the features of a table: which may change, how far, in which direction, and what a change costs."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from brinell.errors import CannotRun, UsageError
from brinell.types import Inputs

Norm = Literal["linf", "l1", "l2"]
Numbers = float | Sequence[float] | Tensor
Flags = bool | Sequence[bool] | Tensor

CHANGES = {"any": (True, True), "up": (True, False), "down": (False, True), "none": (False, False)}
"""(may rise, may fall), by the word for it."""

KEYS: dict[str, type | tuple[type, ...]] = {
    "change": str,
    "scale": (int, float, str),
    "low": (int, float),
    "high": (int, float),
    "whole": bool,
}
"""What a file may say of a feature."""


@final
@dataclass(frozen=True, eq=False)
class Rules:
    """What each feature may do, in the order of a flat example. Make them with `Rules.of`.

    scale: the change that counts as a distance of one. low, high: where it may go; an example beyond may stay there or
    come back. up, down: whether it may rise, fall; neither is a feature that stays as it is. whole: it holds integers.
    groups: features that are one category, one-hot: exactly one of them is 1 and the others are 0. To change a category
    is a distance of 1 / scale.
    """

    scale: Float64[Tensor, " features"]
    low: Float64[Tensor, " features"]
    high: Float64[Tensor, " features"]
    up: Bool[Tensor, " features"]
    down: Bool[Tensor, " features"]
    whole: Bool[Tensor, " features"]
    groups: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(
        cls,
        features: int,
        *,
        scale: Numbers = 1.0,
        low: Numbers = -inf,
        high: Numbers = inf,
        up: Flags = True,
        down: Flags = True,
        whole: Flags = False,
        groups: Sequence[Sequence[int]] = (),
    ) -> "Rules":
        """Rules for so many features: one value for all, or one for each. Raises UsageError where they cannot be."""
        made = cls(
            _each(scale, features, "scale"),
            _each(low, features, "low"),
            _each(high, features, "high"),
            _each(up, features, "up").bool(),
            _each(down, features, "down").bool(),
            _each(whole, features, "whole").bool(),
            tuple(tuple(int(i) for i in group) for group in groups),
        )
        if not ((made.scale > 0) & made.scale.isfinite()).all():
            raise UsageError(f"scale is {made.scale.tolist()}; each must be a finite number above 0")
        if (made.low > made.high).any():
            at = int((made.low > made.high).nonzero()[0])
            raise UsageError(
                f"feature {at} may go from {made.low[at]:g} to {made.high[at]:g}; low must not exceed high"
            )
        members = [i for group in made.groups for i in group]
        if len(set(members)) != len(members) or not all(0 <= i < features for i in members):
            raise UsageError(f"groups are {made.groups}; give each feature, 0 to {features - 1}, to one group at most")
        for group in map(list, made.groups):
            if len(group) < 2:
                raise UsageError(f"group {group} has {len(group)} features; a category needs at least 2")
            if len(set(zip(made.scale[group].tolist(), (made.up & made.down)[group].tolist(), strict=True))) > 1:
                raise UsageError(
                    f"the features of group {group} differ in scale or change; one category has one of each"
                )
        return made

    @property
    def digest(self) -> str:
        """A short name of all of them."""
        values = (self.scale, self.low, self.high, self.up, self.down, self.whole)
        return hashlib.sha256(f"{[v.tolist() for v in values]} {self.groups}".encode()).hexdigest()[:16]

    @property
    def alone(self) -> Bool[Tensor, " features"]:
        """The features that belong to no group."""
        alone = torch.ones_like(self.whole)
        alone[[i for group in self.groups for i in group]] = False
        return alone


def read_rules(path: Path, names: Sequence[str] | None, x: Inputs) -> tuple[Rules, Norm]:
    """The rules of a .toml file, and the norm it names, for a table x of examples with these column names.

    `[every]` speaks of each feature, `[feature.NAME]` of one; `[category]` names lists of one-hot columns.
    Features without names are called by their numbers. Raises UsageError for what the file may not say, CannotRun
    where it cannot be read.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotRun(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    features = x[0].numel()
    known = [str(i) for i in range(features)] if names is None else list(names)
    _known(said, ("norm", "every", "feature", "category"), "", path)
    norm = said.get("norm", "linf")
    if norm not in ("linf", "l1", "l2"):
        raise UsageError(f"{path}: norm is {norm!r}; it must be linf, l1 or l2")
    own = _part(said, "feature", path)
    categories = _part(said, "category", path)
    _known(own, known, "feature.", path)
    every = _about(_part(said, "every", path), "every", path)
    each = [{**every, **_about(own.get(name, {}), f"feature.{name}", path)} for name in known]
    for name, columns in categories.items():
        if not isinstance(columns, list) or not columns or not set(map(str, columns)) <= set(known):
            raise UsageError(f"{path}: category.{name} is {columns!r}; list columns of the data, such as {known[:3]}")
    groups = [[known.index(str(column)) for column in columns] for columns in categories.values()]
    deviation = x.double().flatten(1).std(0, correction=0)
    deviation[[i for group in groups for i in group]] = 1
    scales = [
        float(deviation[i]) or 1.0 if e.get("scale") == "spread" else float(e.get("scale", 1))
        for i, e in enumerate(each)
    ]
    up, down = zip(*(CHANGES[e.get("change", "any")] for e in each), strict=True)
    made = Rules.of(
        features,
        scale=scales,
        low=[float(e.get("low", -inf)) for e in each],
        high=[float(e.get("high", inf)) for e in each],
        up=up,
        down=down,
        whole=[e.get("whole", False) for e in each],
        groups=groups,
    )
    return made, norm


def _each(value: Numbers | Flags, features: int, name: str) -> Tensor:
    tensor = torch.as_tensor(value, dtype=torch.float64).flatten()
    if len(tensor) not in (1, features):
        raise UsageError(f"{name} has {len(tensor)} values; give one, or one for each of {features} features")
    return tensor.expand(features).clone()


def _part(said: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    part = said.get(name, {})
    if not isinstance(part, dict):
        raise UsageError(f"{path}: {name} is {part!r}; it must be a table, [{name}]")
    return part


def _known(said: dict[str, Any], names: Sequence[str], where: str, path: Path) -> None:
    for name in said:
        if name not in names:
            some = ", ".join(names[:12]) + (", …" if names[12:] else "")
            raise UsageError(f"{path}: {where}{name} is not known; there are {some}")


def _about(said: Any, where: str, path: Path) -> dict[str, Any]:
    """What is said of a feature, each of the right kind."""
    if not isinstance(said, dict):
        raise UsageError(f"{path}: {where} is {said!r}; it must be a table, [{where}]")
    _known(said, list(KEYS), f"{where}.", path)
    for key, value in said.items():
        right = isinstance(value, KEYS[key]) and (key == "whole" or not isinstance(value, bool))
        if key == "change":
            right = right and value in CHANGES
        if key == "scale" and isinstance(value, str):
            right = value == "spread"
        if not right:
            allowed = {"change": ", ".join(CHANGES), "scale": "a number, or spread", "whole": "true or false"}
            raise UsageError(f"{path}: {where}.{key} is {value!r}; give {allowed.get(key, 'a number')}")
    return said
