"""The command line: which commands there are, under which headings. A command's module is imported when it is asked."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from brinell import __version__

COMMANDS: dict[str, dict[str, str]] = {
    "Begin": {
        "example": "Write small models and data to try the commands on.",
        "init": "Write a commented brinell.toml, so that audit and gate suffice.",
        "check": "Find what would make an audit worthless, and what it would cost.",
    },
    "Ask about examples": {
        "audit": "Bracket how often a model can be broken; write a page.",
        "verify": "Prove that no change within a set flips an answer.",
        "radius": "Find the radius to which each example is proved, or breaks.",
        "attack": "Run one attack: what it broke, how far it went, what it asked.",
        "diagnose": "Ask whether attacks can see, or gradients are only hidden.",
        "transfer": "Craft examples on each of several models, try them on all.",
    },
    "Ask about every input": {
        "decide": "Decide VNN-LIB properties of ONNX networks: sat or unsat.",
        "monotone": "Decide whether a score can fall where a feature rises.",
    },
    "Use a run": {
        "resume": "Continue a run that was stopped or killed.",
        "report": "Write the page of a run, and print its table.",
        "compare": "Compare two runs example by example.",
        "gate": "Pass, fail, or say that the sample does not decide.",
    },
    "Look up": {
        "list": "List the engines, or show one with its settings.",
        "schema": "Print the JSON Schema of brinell.toml.",
    },
}
"""Every command and its line, which its docstring begins with."""


class Commands(TyperGroup):
    """The commands, made when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the help."""
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None."""
        if cmd_name not in self.list_commands(ctx):
            return None
        from brinell.cli.page import command

        module = import_module(f"brinell.cli.commands.{cmd_name}")
        return command(cmd_name, getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_"))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Commands first: they are what is looked for."""
        longest = max(map(len, self.list_commands(ctx)))
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(longest), line) for name, line in commands.items()])
        with formatter.section("Options"):
            formatter.write_dl([r for p in self.get_params(ctx) if (r := p.get_help_record(ctx)) is not None])


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 80}

app = typer.Typer(
    name="brinell",
    cls=Commands,
    help="How hard is your model to break? A bracket: what a proof guarantees, and what no attack has refuted.",
    epilog="brinell COMMAND --help has the options of a command.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=SETTINGS,
)


@app.callback(invoke_without_command=True)
def top(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Options that belong to no command."""
    if version:
        typer.echo(f"brinell {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
