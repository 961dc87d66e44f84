"""S-expressions, the syntax of VNN-LIB files."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from brinell.errors import CannotRun

DEEPEST = 100
"""How deep parentheses may be nested."""


class Word(NamedTuple):
    """An atom. at: its position in the text."""

    text: str
    at: int


class Group(NamedTuple):
    """A list in parentheses. at: the position of the first one."""

    parts: list["Word | Group"]
    at: int


Expression = Word | Group


def commands(text: str, wrong: Callable[[int, str], CannotRun]) -> Iterator[Group]:
    """The outermost lists of a text, without its comments. wrong: makes the error at a position of the text."""
    stack: list[Group] = []
    for token in re.finditer(r";[^\n]*|[()]|\|[^|]*\||\"[^\"]*\"|[^\s();|\"]+|[|\"]", text):
        word = token.group()
        at = token.start()
        if word == "(":
            stack.append(Group([], at))
            if len(stack) > DEEPEST:
                raise wrong(at, f"more than {DEEPEST} parentheses deep")
        elif word == ")":
            if not stack:
                raise wrong(at, "a parenthesis closes that was never opened")
            whole = stack.pop()
            if stack:
                stack[-1].parts.append(whole)
            else:
                yield whole
        elif word[0] != ";":
            if not stack:
                raise wrong(at, f"{shown(word)} outside parentheses")
            if word in ("|", '"'):
                raise wrong(at, f"a quotation {word} that does not end")
            stack[-1].parts.append(Word(word, at))
    if stack:
        raise wrong(stack[-1].at, "a parenthesis that is never closed")


def shown(word: str) -> str:
    """Foreign text in an error message: shortened, with control characters escaped."""
    return repr(word if len(word) <= 40 else word[:39] + "…")
