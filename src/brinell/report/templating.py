"""The pages as text, and the one door through which values enter them."""

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from brinell.report import words


def template(name: str) -> Template:
    """A template of `templates`. Every string it shows is made inert: stripped by `words.plain`, then escaped."""
    return _environment().get_template(name)


@cache
def stylesheet() -> Markup:
    """The page's own style."""
    return Markup(resources.files("brinell.report").joinpath("templates/page.css").read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("brinell.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_inert,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "percent": _unbroken(words.percent),
            "interval": _unbroken(words.interval),
            "number": _unbroken(words.number),
            "count": _unbroken(words.count),
            "duration": _unbroken(words.duration),
            "label": words.label,
            "certified": _unbroken(words.certified),
            "unbroken": _unbroken(words.unbroken),
            "told": words.told,
            "arithmetic": words.arithmetic,
            "demanded": words.demanded,
            "chance": words.chance,
            "asked": words.asked,
        }
    )
    return environment


def _inert(value: object) -> object:
    return value if isinstance(value, Markup) or not isinstance(value, str) else words.plain(value)


def _unbroken(write: Callable[[Any], str]) -> Callable[[Any], str]:
    """A number and its unit stay on one line."""
    return lambda value: write(value).replace(" ", "\N{NO-BREAK SPACE}")
