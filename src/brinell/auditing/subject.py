"""The subject of an audit: a model, examples, and what else some questions need to know of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch

from brinell.arguments import a_kind
from brinell.data import Dataset, given
from brinell.errors import UsageError
from brinell.targets import Target

Examples = Dataset | tuple[Any, Any]
"""A Dataset, or (x, y): inputs in the target's box and class indices."""


@final
@dataclass(frozen=True, eq=False)
class Subject:
    """What an audit looks at. A question that lacks what it needs is left out of the run, by name.

    target: the model under test. data: labelled examples held out from training. training: examples that the model was,
    or may have been, trained on. reference: clean examples of the same kind, for shadow models and trusted baselines.
    train: a recipe, (Dataset, Generator) -> Target, where a question has to train the model again. groups: one value an
    example of `data`, such as a person's group.

    Raises UsageError where examples do not fit the target, or groups are not one an example.

        brinell.Subject(brinell.target(model), (x, y), training=(x_train, y_train))
    """

    target: Target
    data: Examples
    training: Examples | None = None
    reference: Examples | None = None
    train: Callable[[Dataset, torch.Generator], Target] | None = None
    groups: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise UsageError(f"target is {a_kind(self.target)}; {Target.instead}")
        if self.train is not None and not callable(self.train):
            raise UsageError(
                f"train is {a_kind(self.train)}; give a function of (Dataset, Generator) that makes a Target"
            )

        n = len(self.examples)
        if self.groups is not None and len(self.groups) != n:
            raise UsageError(f"groups are {len(self.groups)}, and there are {n} examples; give one an example")

    @cached_property
    def examples(self) -> Dataset:
        """The held-out data, as the target takes it."""
        return self._meeting(self.data)

    def _meeting(self, data: Examples) -> Dataset:
        return given(data).meeting(self.target.classes, self.target.features, self.target.box)
