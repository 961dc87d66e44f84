"""The pages as text, and the one door through which values enter them."""

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from brinell.report import words

HERE = "brinell.report"


def template(name: str) -> Template:
    """A template of `templates`. Every string it shows is made inert: stripped by `words.plain`, then escaped."""
    return _own().get_template(name)


@cache
def stylesheet() -> Markup:
    """The page's own style."""
    return Markup(resources.files(HERE).joinpath("templates/page.css").read_text(encoding="utf-8"))


@cache
def _own() -> Environment:
    return environment(HERE)


def environment(package: str, **filters: Callable[[Any], Any]) -> Environment:
    """The templates of a package beside the shared ones, with the filters of both.

    A filter that gives a string is one whose words stay on one line.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, HERE))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_inert,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        {
            "percent": unbroken(words.percent),
            "interval": unbroken(words.interval),
            "number": unbroken(words.number),
            "count": unbroken(words.count),
            "duration": unbroken(words.duration),
            "told": words.told,
            **filters,
        }
    )
    made.globals.update(sentence=sentence, cited=cited)
    return made


def sentence(text: str) -> str:
    """A message of ours as a sentence: a capital in front and a stop behind."""
    text = words.plain(text).strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def cited(paper: str) -> Markup:
    """A reference whose arXiv number is a link."""
    return Markup(_ARXIV.sub(_LINK, str(escape(words.plain(paper)))))


_LINK = r'<a href="https://arxiv.org/abs/\1" rel="noopener noreferrer">\g<0></a>'
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def unbroken(write: Callable[[Any], str]) -> Callable[[Any], str]:
    """A number and its unit stay on one line."""
    return lambda value: write(value).replace(" ", "\N{NO-BREAK SPACE}")


def _inert(value: object) -> object:
    return value if isinstance(value, Markup) or not isinstance(value, str) else words.plain(value)
