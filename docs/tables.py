"""Tables of the site that are made from the code they describe, so that they cannot fall behind it. A hook of mkdocs.

A page asks for one with a line of its own: <!-- table: engines -->
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from brinell.auditing.plan import Stage
from brinell.auditing.result import Result
from brinell.catalog import CATALOG, QUESTIONS
from brinell.cli.config import Config
from brinell.questions.calibration import CalibrationSummary
from brinell.questions.evasion import EvasionSummary
from brinell.questions.evasion.plans import PRESETS

_ASKED = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return _ASKED.sub(lambda match: TABLES[match[1]](), markdown)


def engines() -> str:
    """Every engine of the catalogue."""
    return _table(
        ("engine", "kind", "family", "needs", "sets", "source", "ATLAS, NIST"),
        [
            (
                f"`{row.name}`",
                row.kind,
                row.family,
                row.access.name.lower(),
                ", ".join(row.sets) or "all",
                _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", row.paper),
                ", ".join((*row.atlas, *row.nist)),
            )
            for row in CATALOG
        ],
    )


def plans() -> str:
    """The stages of every preset."""
    longest = max(len(plan.stages) for plan in PRESETS.values())
    rows = [
        [_stage(plan.stages[i]) if i < len(plan.stages) else "" for plan in PRESETS.values()] for i in range(longest)
    ]
    return _table([f"`{name}`" for name in PRESETS], rows)


def _stage(stage: Stage) -> str:
    """What it is, and what it waits for or is meant for."""
    told = [" or ".join(stage.sets)] if stage.sets else []
    told += [stage.when] if stage.when != "always" else []
    return f"`{stage.label}`" + (f" ({'; '.join(told)})" if told else "")


def result() -> str:
    """Every field of result.json that all questions share, from its schema."""
    return _record_table(Result)


def evasion() -> str:
    """Every field of the answer of evasion."""
    return _record_table(EvasionSummary)


def calibration() -> str:
    """Every field of the answer of calibration."""
    return _record_table(CalibrationSummary)


def questions() -> str:
    """Every question, what it asks, and its figures."""
    rows = []
    for row in QUESTIONS:
        figures = row.resolve().figures
        written = (f"`{name}`" if at is None else f"`{name}@{at}`" for name, at in figures.items())
        rows.append((f"`{row.name}`", row.about, ", ".join(written)))
    return _table(("question", "asks", "figures"), rows)


def _record_table(record: type[BaseModel]) -> str:
    schema = record.model_json_schema(by_alias=True)
    return _table(("field", "type", "meaning"), list(_fields(schema, schema["$defs"], "")))


def config() -> str:
    """Every key of brinell.toml, from its schema."""
    schema = Config.model_json_schema()
    known = schema.get("$defs", {})
    rows = [
        (
            f"`{name}`",
            _type(field, known).replace(" or null", "").replace("integer or number", "number"),
            field["description"],
        )
        for name, field in schema["properties"].items()
    ]
    return _table(("key", "type", "meaning"), rows)


def _fields(schema: dict[str, Any], known: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """(path, type, meaning) of each field; a record is taken from `known` and written out where it is met first."""
    for name, field in schema.get("properties", {}).items():
        record, many = _record(field)
        place = f"{path}{name}{many}"
        meaning = field.get("description", "")
        inner = known.get(record, {})
        first = "properties" in inner and "shown" not in inner
        if not meaning and "properties" in inner:
            meaning = inner["description"] if first else f"as in `{inner['shown']}`"
        yield f"`{place}`", _type(field, known), meaning
        if first:
            inner["shown"] = place
            yield from _fields(inner, known, f"{place}.")


def _record(field: dict[str, Any]) -> tuple[str, str]:
    """(the name of the record that a field holds, or "", and [] where it holds many)."""
    if "$ref" in field:
        return _name(field), ""
    if "$ref" in field.get("items", {}):
        return _name(field["items"]), "[]"
    return "", ""


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[-1]


def _type(field: dict[str, Any], known: dict[str, Any]) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(kind, known) for kind in field["anyOf"])
    if "$ref" in field:
        return _type(known[_name(field)], known)
    if field.get("type") == "array" and "prefixItems" in field:
        return "[" + ", ".join(_type(kind, known) for kind in field["prefixItems"]) + "]"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), known)}"
    return str(field.get("type", "any"))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


TABLES: dict[str, Callable[[], str]] = {
    "engines": engines,
    "plans": plans,
    "questions": questions,
    "result": result,
    "evasion": evasion,
    "calibration": calibration,
    "config": config,
}
