"""`brinell schema`."""

import json

import typer


def schema() -> None:
    """Print the JSON Schema of brinell.toml.

    brinell schema > brinell.schema.json
    """
    from brinell.cli.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
