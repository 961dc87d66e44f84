"""Options that are not given on the command line are taken from brinell.toml, where there is one."""

from pathlib import Path

import typer

NAME = "brinell.toml"

_WITHOUT = "brinell.without_config"

_KEYS = {"set_": "sets", "require": "gates", "run": "out"}
"""Keys of the file that are called otherwise than the parameter they fill in."""


def without_config(ctx: typer.Context, asked: bool) -> bool:
    """Remember that no file is to be read. Asked before `read_config`, since it was given."""
    if asked:
        ctx.meta[_WITHOUT] = True
    return asked


def read_config(ctx: typer.Context, given: Path | None) -> Path | None:
    """Make what the file holds the defaults of the command. Raises UsageError naming the key that is wrong."""
    file = given or Path(NAME)
    if ctx.meta.get(_WITHOUT) or ctx.resilient_parsing or (given is None and not file.exists()):
        return given
    from brinell.cli.config import options_of

    takes = {parameter.name for parameter in ctx.command.params}
    known = {name: value for name, value in options_of(file).items() if name in takes}
    ctx.default_map = {**(ctx.default_map or {}), **known}
    if known:
        typer.echo(f"{file}: {', '.join(_KEYS.get(name, name) for name in known)}", err=True)
    return given
