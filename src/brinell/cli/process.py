"""A command run as a process. Figures go to stdout, everything else to stderr; a foreseen failure is one line.

0 done or passed · 1 a gate failed · 2 the command cannot be right · 3 it could not be carried out · 4 the evidence does
not decide · 70 a mistake of Brinell's own · 130 interrupted.
"""

import re
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from brinell.cli.app import COMMANDS, app
from brinell.cli.leave import INTERNAL, INTERRUPTED, fail, leave, unforeseen
from brinell.errors import BrinellError, CannotRun, UsageError, did_you_mean, out_of_memory

_Misuse: type[Exception] = typer.BadParameter.__bases__[0]
"""What click raises of words that it cannot read, wherever this version of typer keeps click."""

_NO_MEMORY = "memory ran out; give fewer examples with --n, or fewer --workers"


def main() -> NoReturn:
    """Run a command and leave with its exit code."""
    try:
        _run()
    except SystemExit as left:
        leave(left.code if isinstance(left.code, int) else int(left.code is not None))


def _run() -> NoReturn:
    """Run a command; what it raises becomes a line and an exit code."""
    asked: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        """A polite kill is a Ctrl-C."""
        asked.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        code = app(prog_name="brinell", standalone_mode=False)
    except _Misuse as error:
        fail(_misused(error), UsageError.exit_code)
    except BrinellError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(f"{error.filename or 'the output'} cannot be read or written: {error.strerror or error}", 3)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", INTERRUPTED)
    except SystemExit as left:
        if left.code == 1 and isinstance(left.__context__, OSError):  # click's, of a reader who left
            sys.exit(CannotRun.exit_code)
        raise
    except MemoryError:
        fail(_NO_MEMORY, CannotRun.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one line
        if asked:  # an import that was cut short fails in ways of its own
            fail("interrupted", INTERRUPTED)
        if out_of_memory(error):
            fail(_NO_MEMORY, CannotRun.exit_code)
        fail(unforeseen(error), INTERNAL)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C
        fail("interrupted", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _misused(error: Exception) -> str:
    """What click says, with the command or option that was probably meant, and where help is."""
    said = str(getattr(error, "message", None) or error).rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{said}; see brinell --help"
    if isinstance(error, typer.BadParameter):
        said = error.format_message().rstrip(".")
    if hasattr(error, "option_name"):
        known = [name for parameter in context.command.params for name in getattr(parameter, "opts", ())]
        said += did_you_mean(str(error.option_name), [name for name in known if name.startswith("--")])
    elif unknown := re.fullmatch("No such command '(.*)'", said):
        said += did_you_mean(unknown[1], [name for commands in COMMANDS.values() for name in commands])
    return f"{said}; see {context.command_path} --help"
