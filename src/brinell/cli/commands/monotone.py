"""`brinell monotone`."""

from typing import Annotated

import typer

from brinell.cli.options import SEARCH, AsJson, Configured, Sample, SubjectOptions, Timeout
from brinell.cli.runs import sources_of
from brinell.cli.words import seconds_of
from brinell.errors import UsageError


def monotone(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "--feature",
            "-f",
            help="FEATURE:+ asks whether raising it can count against class 1, FEATURE:- whether it can count for it; "
            "of class 2, FEATURE:+2. May be repeated.",
            rich_help_panel=SEARCH,
            show_default=False,
            metavar="FEATURE:SIGN",
        ),
    ] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Decide whether a score can fall where a feature rises.

    Each question has 300 s, is asked over the whole box, and holds in exact arithmetic. Ends with exit code 1 where
    one is refuted, with 4 where one is left open.

    brinell monotone risk.py:build table.csv --box data --feature age:+
    """
    from brinell.cli.monotone import decide as rises

    if not feature:
        raise UsageError("--feature is missing: name what is to rise, e.g. --feature age:+")
    rises(sources_of(subject, sample), feature, seconds_of(timeout or "300", "--timeout"), as_json)
