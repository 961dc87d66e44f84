"""The engine that a stage of a plan names, made of its settings."""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from brinell.auditing.plan import Stage
from brinell.errors import UsageError, did_you_mean


def build(stage: Stage, named: Mapping[str, Callable[[object], object]] = MappingProxyType({})) -> Any:
    """The engine a stage names, with its settings. named: readers of settings that plans give by a name.

    Raises UsageError naming the setting that does not fit.
    """
    engine = stage.row.resolve()
    takes = inspect.signature(engine).parameters
    settings = {}
    for name, value in stage.settings.items():
        if name not in takes:
            known = ", ".join(takes) or "none"
            raise UsageError(f"{stage.engine} has no setting {name!r}; it takes {known}{did_you_mean(name, takes)}")
        kind = TypeAdapter(takes[name].annotation, config=ConfigDict(arbitrary_types_allowed=True))
        try:
            settings[name] = kind.validate_python(named[name](value) if name in named else value)
        except ValidationError as error:
            raise UsageError(f"{stage.engine} cannot have {name}={value!r}: {error.errors()[0]['msg']}") from None
    return engine(**settings)
