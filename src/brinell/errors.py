"""What Brinell says when it cannot go on: one sentence that names the thing, its value, and the remedy."""

from collections.abc import Iterable


class BrinellError(Exception):
    """A foreseen failure. The command line prints it as one line and leaves with `exit_code`."""

    exit_code = 3

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # a value that it quotes may have several


class UsageError(BrinellError, ValueError):
    """An argument that cannot be right: a radius larger than the box, labels out of range, an unknown plan."""

    exit_code = 2


class CannotRun(BrinellError, RuntimeError):
    """The request is clear but cannot be carried out: an unreadable file, a full disk, a severe finding."""


class Refused(CannotRun):
    """A file that would have to execute code, or leave its folder, to be loaded."""


class MissingExtra(CannotRun):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'brinell[{extra}]'")


class Inconclusive(BrinellError):
    """The evidence does not decide the question, either way."""

    exit_code = 4


class Contradiction(BrinellError):
    """A witness inside a certified region: a bug in Brinell or in the arithmetic of the target."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python, torch and onnxruntime each say it in words of their own."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(words in said for words in ("allocate memory", "bad_alloc"))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean PGD?)" where a known name is near a misspelt one, whatever its case; else nothing."""
    from difflib import get_close_matches

    spelled = {one.casefold().lstrip("-"): one for one in known}
    found = get_close_matches(name.casefold().lstrip("-"), spelled, n=1)
    return f" (did you mean {spelled[found[0]]}?)" if found else ""
