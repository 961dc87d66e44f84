"""Findings: what was seen before or beside a run that its reader has to know."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SEVERITIES = ("severe", "warning", "note")


class Finding(BaseModel):
    """Something that a preflight or a diagnosis saw. severe: it stops an audit unless accepted by its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Literal["severe", "warning", "note"]
    message: str
    remedy: str
    accepted: bool = False
    examples: tuple[int, ...] = Field(default=(), description="row numbers of the examples it was seen on, at most 20")


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Severe ones first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
