"""Arguments of the wrong kind, refused in one sentence at the public door: what is behind it need not ask again."""

import inspect
import operator
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, final, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray
from torch import Tensor

from brinell.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Test = Callable[[Any], bool]

_MOST = 2**63
"""What no whole number reaches: tensors and generators hold none beyond."""

_LONGEST = 40
"""Characters of a value that a sentence quotes."""

_WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    str: "text",
    bool: "True or False",
    type(None): "None",
    Tensor: "a tensor",
    np.ndarray: "an array",
    PathLike: "a path",
    Path: "a path",
}


@final
@dataclass(frozen=True)
class Limit:
    """What a number has to be, as part of an annotation: `steps: Annotated[int, AtLeast(1)]`. Several hold together."""

    words: str
    bound: float
    holds: Callable[[float, float], bool]

    def __str__(self) -> str:
        return f"{self.words} {self.bound:g}"


def AtLeast(bound: float) -> Limit:
    """No smaller than this."""
    return Limit("at least", bound, operator.ge)


def AtMost(bound: float) -> Limit:
    """No larger than this."""
    return Limit("at most", bound, operator.le)


def MoreThan(bound: float) -> Limit:
    """Larger than this."""
    return Limit("more than", bound, operator.gt)


def LessThan(bound: float) -> Limit:
    """Smaller than this."""
    return Limit("less than", bound, operator.lt)


Count = Annotated[int, AtLeast(1)]
Positive = Annotated[float, MoreThan(0)]
NonNegative = Annotated[float, AtLeast(0)]
Probability = Annotated[float, AtLeast(0), AtMost(1)]
Portion = Annotated[float, MoreThan(0), AtMost(1)]
Fraction = Annotated[float, MoreThan(0), LessThan(1)]


class Checked:
    """A class that is made of arguments of the kinds and within the limits that its annotations name.

    Checked before anything in it is made, so that what looks at the values may take their kinds for granted. Raises
    UsageError for any other.
    """

    def __new__(cls: type[T], *args: Any, **settings: Any) -> T:
        if args or settings:
            _check(cls.__init__, cls.__name__, (None, *args), settings)
        return object.__new__(cls)


def checked(*, but: Sequence[str] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose arguments are of the kinds that its annotations name, and else raises UsageError.

    but: arguments that the function itself looks at, as it has more to say of them.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def asked(*args: P.args, **settings: P.kwargs) -> R:
            _check(function, function.__qualname__, args, settings, but)
            plain = {name: _plain(value) for name, value in settings.items()}
            return function(*map(_plain, args), **plain)  # type: ignore[arg-type]

        return asked

    return decorate


def _plain(value: object) -> object:
    """NumPy's numbers as Python's own: those that are kept with a run go into JSON."""
    return value.item() if isinstance(value, np.integer | np.floating) else value


def a_kind(value: object) -> str:
    """What a value is, in a few words: "a list", "'abc'", "3"."""
    if isinstance(value, str | int | float | None) and len(repr(value)) <= _LONGEST:
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _check(
    function: Callable[..., Any], owner: str, args: Sequence[Any], settings: Mapping[str, Any], but: Sequence[str] = ()
) -> None:
    signature, hints = _asked(function)
    try:
        given = signature.bind(*args, **settings).arguments
    except TypeError:
        return  # too many, or not enough: the call itself says so best
    for name, value in given.items():
        if name in hints and name not in but and not fits(value, hints[name]):
            if limits := broken_limits(value, hints[name]):
                raise UsageError(f"{name} is {value}; it must be {' and '.join(map(str, limits))}")
            raise UsageError(f"{name} is {a_kind(value)}; {_remedy(hints[name], owner)}")


@cache
def _asked(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    """(what a function takes, the kinds of those that name one and stand alone)."""
    signature = inspect.signature(function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError:  # of what is imported for a type checker only
        hints = {}
    gathered = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    alone = [name for name, taken in signature.parameters.items() if taken.kind not in gathered]
    return signature, {name: hints[name] for name in alone if name in hints}


def fits(value: object, hint: Any) -> bool:
    """Whether a value is what an annotation names, limits and all, as far as that can be told without calling it."""
    return _test(hint)(value)


@cache
def _test(hint: Any) -> Test:
    """The test that an annotation stands for: made once, and asked at every call."""
    origin = get_origin(hint)
    inner = get_args(hint)
    if origin in (Union, types.UnionType):
        either = [_test(one) for one in inner]
        return lambda value: any(test(value) for test in either)
    if origin is Annotated:
        kind = _test(inner[0])
        limits = [limit for limit in inner[1:] if isinstance(limit, Limit)]
        return lambda value: kind(value) and all(limit.holds(value, limit.bound) for limit in limits)
    if origin is Literal:
        return lambda value: any(type(value) is type(one) and value == one for one in inner)
    if hint is None or hint is type(None):
        return lambda value: value is None
    if hint is int:
        return lambda value: type(value) is not bool and isinstance(value, Integral) and -_MOST <= int(value) < _MOST
    if hint is float:
        return lambda value: type(value) is not bool and isinstance(value, Real)
    if origin is Callable or hint is Callable:
        return callable
    if isinstance(origin, type):
        return lambda value: _holds(value, origin, inner)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return lambda value: isinstance(value, hint.array_type)
    return lambda value: not isinstance(hint, type) or _is_a(value, hint)


def _is_a(value: object, hint: type) -> bool:
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that cannot be asked at run time
        return True


def broken_limits(value: Any, hint: Any) -> list[Limit]:
    """The limits that an annotation sets to a value that is of its kind, where it breaks one of them; else none."""
    origin = get_origin(hint)
    inner = get_args(hint)
    if origin in (Union, types.UnionType):
        return next(filter(None, (broken_limits(value, one) for one in inner)), [])
    if origin is tuple and isinstance(value, tuple):
        return next(filter(None, map(broken_limits, value, inner)), [])
    if origin is not Annotated or not fits(value, inner[0]):
        return []
    limits = [limit for limit in inner[1:] if isinstance(limit, Limit)]
    return [] if all(limit.holds(value, limit.bound) for limit in limits) else limits


def _holds(value: object, origin: type, inner: tuple[Any, ...]) -> bool:
    """Whether a value is a container of such things."""
    if origin is type or not issubclass(origin, Mapping | Sequence | Set):
        return isinstance(value, origin)
    if issubclass(origin, Mapping):
        return isinstance(value, origin) and all(
            fits(key, inner[0]) and fits(held, inner[1]) for key, held in value.items()
        )
    if origin is Sequence and isinstance(value, np.ndarray | Tensor):
        return value.ndim == 1
    if not isinstance(value, origin) or isinstance(value, str | bytes):
        return False
    if origin is tuple and inner[-1:] != (...,):
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(held, inner[0]) for held in value)


def _remedy(hint: Any, owner: str) -> str:
    """What to give instead; a class may say how it is made."""
    made = getattr(hint, "instead", None)
    return made if isinstance(made, str) else f"{owner} takes {_named(hint)}"


def _named(hint: Any) -> str:
    origin = get_origin(hint)
    inner = get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_named, inner)))
    if origin is Annotated:
        return _named(inner[0])
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable or hint is Callable:
        return "a function"
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return "a tensor"
    kind = origin or hint
    if kind in _WORDS:
        return _WORDS[kind]
    name = getattr(kind, "__name__", str(kind))
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
