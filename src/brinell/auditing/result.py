"""The result of a run as data: what `result.json` holds, what reports render and gates decide on.

Every figure is computed once, from the ledger, by the question it belongs to; a face only shows it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from brinell.auditing.finding import Finding, ordered
from brinell.auditing.question import EngineResult, Record, StageLeftOut, Summary, question_of
from brinell.catalog import CATALOG

Status = Literal["complete", "budget", "interrupted", "running"]


class Provenance(BaseModel):
    """Where the figures come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    brinell: str
    torch: str
    python: str
    platform: str
    command: str
    started: str
    target: str
    target_digest: str
    data: str
    data_digest: str
    seed: int
    workers: int


class Result(BaseModel):
    """One run. The schema number rises when a field changes its meaning or goes."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[2] = Field(default=2, alias="schema")
    status: Status
    answers: dict[str, SerializeAsAny[Summary]] = Field(description="one summary a question, by the question's name")
    not_asked: dict[str, str] = Field(
        default={}, description="questions that the subject lacks something for, and what"
    )
    seconds: float = Field(description="wall time, summed over resumptions")
    scrutiny: float = Field(default=0.0, description="of it, on preflights and diagnoses")
    provenance: Provenance

    @field_validator("answers", mode="before")
    @classmethod
    def _each_by_its_question(cls, answers: Any) -> Any:
        """A summary that comes as plain data is read by the question that wrote it."""
        if not isinstance(answers, Mapping):
            return answers
        return {
            key: question_of(summary["question"]).summary.model_validate(summary)
            if isinstance(summary, Mapping) and "question" in summary
            else summary
            for key, summary in answers.items()
        }

    @property
    def engines(self) -> tuple[EngineResult, ...]:
        """What each stage of all questions did."""
        return tuple(engine for summary in self.answers.values() for engine in summary.engines)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know besides, of all questions."""
        left = (f"{name} was not asked: {lacking}" for name, lacking in self.not_asked.items())
        return (*left, *(note for summary in self.answers.values() for note in summary.notes))

    @property
    def found(self) -> tuple[Finding, ...]:
        """What was seen before and beside the questions, each once, severe ones first."""
        every = ordered(finding for summary in self.answers.values() for finding in summary.found)
        severest = {finding.code: finding for finding in reversed(every)}
        return tuple(ordered(severest.values()))

    def to_json(self) -> str:
        """The contents of `result.json`."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def stages_left_out(entries: Mapping[str, Any]) -> tuple[StageLeftOut, ...]:
    """The stages that a question's entries say had no engine."""
    return tuple(StageLeftOut(stage=stage, reason=reason) for stage, reason in entries.get("left_out", {}).items())


def engine_results(record: Record) -> tuple[EngineResult, ...]:
    """The stages that worked; of a run that has not ended also those it did not come to."""
    rows = {row.name: row for row in CATALOG}
    stages = record.plan.stages
    dropped: Mapping[str, float] = record.entries.get("dropped", {})
    left_out = record.entries.get("left_out", {})
    worked = {work.engine for work in record.work}
    begun = [i for i, stage in enumerate(stages) if stage.label in worked or stage.label in dropped]
    last = -1 if not begun else begun[-1]

    results = []
    for index, stage in enumerate(stages):
        own = [work for work in record.work if work.engine == stage.label]
        ahead = record.status != "complete" and index >= last and stage.label not in left_out
        if not own and not ahead:
            continue
        row = rows[stage.engine]
        results.append(
            EngineResult(
                engine=stage.label,
                kind=row.kind,
                family=row.family,
                paper=row.paper,
                atlas=row.atlas,
                nist=row.nist,
                asked=sum(work.asked for work in own),
                settled=sum(work.settled for work in own),
                failed=sum(work.failed for work in own),
                forwards=sum(work.forwards for work in own),
                gradients=sum(work.gradients for work in own),
                seconds=round(sum(work.seconds for work in own), 3),
                state="complete" if not ahead else "unfinished" if index == last else "not begun",
                dropped=round(dropped.get(stage.label, 0.0), 3),
            )
        )
    return tuple(results)
