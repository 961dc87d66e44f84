"""A question is one package: a third one, made here, is driven, resumed, gated, compared and shown like the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from markupsafe import Markup

import brinell
from brinell import catalog
from brinell.access import Access
from brinell.auditing import Plan, Requirement, Stage, compare, gate
from brinell.auditing.build import build
from brinell.auditing.gate import Outcome as Ruled
from brinell.auditing.question import Answer, Comparable, Inquiry, Phase, Question, Record, Summary
from brinell.auditing.result import Result, engine_results
from brinell.auditing.work import Shard, ShardResult
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Evidence, Figure
from brinell.report import render, table
from questions.runs import examples, network, tables


@dataclass(frozen=True)
class Flip(Evidence):
    """Whether an example's label survives being turned around."""

    item: int
    engine: str
    same: bool
    kind: ClassVar[str] = "flip"

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return float(self.same), {}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Flip":
        return cls(item, engine, bool(value))


@dataclass(frozen=True)
class Turn:
    """The engine. shift: added to every input besides."""

    shift: float = 0.0

    def __call__(self, target: brinell.Target, shard: Shard, checkpoint: Any) -> ShardResult:
        turned = target.labels((shard.x.flip(1) + self.shift).clamp(0, 1))
        same = (turned == target.labels(shard.x)).tolist()
        return ShardResult([Flip(item, "", one) for item, one in zip(shard.items, same, strict=True)])


class Turned(Summary):
    """How many labels survive."""

    same: int
    asked: int

    @property
    def names(self) -> Mapping[str, str | None]:
        return {"same": None}

    def figure(self, name: str, at: str | None = None) -> Figure | None:
        return Figure.fraction(self.same, self.asked) if name == "same" else None

    def comparable(self) -> Sequence[Comparable]:
        return [Comparable("same")]


class TurnedAnswer(Answer):
    def __init__(self, record: Record, known: Mapping[int, bool]) -> None:
        self.known = known
        self.record = record
        super().__init__(
            Turned(
                question="turning",
                key=record.key,
                n=record.entries["n"],
                plan=record.plan,
                engines=engine_results(record),
                findings=record.findings,
                same=sum(known.values()),
                asked=len(known),
            )
        )

    def paired(self, figure: str, at: str | None) -> Mapping[str, float]:
        return {self.record.entries["examples"][item]: float(same) for item, same in self.known.items()}

    def cells(self) -> tuple[str, Sequence[str], Sequence[Sequence[object]]]:
        return "turning", ("same",), [(len(self.known),)]

    def lines(self) -> list[str]:
        return [f"{len(self.known)} turned"]

    def table(self) -> str:
        return "turned in a terminal"

    def lead(self, result: Result) -> Markup:
        return Markup("<p>turned in front</p>")

    def section(self, result: Result) -> Markup:
        return Markup("<section>turned in full</section>")


@dataclass(frozen=True)
class Turning(Question):
    name: ClassVar[str] = "turning"
    kinds: ClassVar[Mapping[str, type[Evidence]]] = MappingProxyType({"flip": Flip})
    summary: ClassVar[type[Summary]] = Turned
    figures: ClassVar[Mapping[str, str | None]] = MappingProxyType({"same": None})
    plans: ClassVar[Mapping[str, Plan]] = MappingProxyType(
        {"standard": Plan(name="standard", stages=(Stage(engine="Turn"),), shard=16)}
    )

    def lacks(self, subject: brinell.Subject) -> str | None:
        return None if subject.groups is not None else "give groups"

    def inquiry(self, subject: brinell.Subject, plan: Plan, seed: int) -> "TurningInquiry":
        return TurningInquiry(self, subject, plan)

    @classmethod
    def answer(cls, record: Record) -> TurnedAnswer:
        known = {flip.item: flip.same for flip in record.evidence(cls.kinds) if isinstance(flip, Flip)}
        return TurnedAnswer(record, known)


class _Board:
    def __init__(self) -> None:
        self.known: set[int] = set()

    def add(self, evidence: Evidence) -> None:
        self.known.add(evidence.item)


class TurningInquiry(Inquiry):
    def __init__(self, question: Turning, subject: brinell.Subject, plan: Plan) -> None:
        self.key = question.key
        self.kinds = question.kinds
        self.plan = plan
        self.data = subject.examples
        self.n = len(self.data)
        self.board = _Board()

    def identity(self) -> dict[str, Any]:
        return {"plan": self.plan.model_dump(mode="json")}

    def about(self) -> dict[str, Any]:
        return {"n": self.n, "examples": self.data.names}

    def phases(self) -> list[Phase]:
        return [Phase(0)]

    def chosen(self, phase: Phase) -> np.ndarray:
        assert isinstance(self.board, _Board)
        return np.array(sorted(set(range(self.n)) - self.board.known))

    def shard(self, items: np.ndarray, seed: int) -> Shard:
        return Shard(items.tolist(), self.data.x[items], self.data.y[items], seed)

    def engine(self, phase: Phase) -> Any:
        return build(self.plan.stages[phase.stage])

    def settles(self, evidence: Evidence, phase: Phase) -> bool:
        return True


@pytest.fixture(autouse=True)
def known(monkeypatch):
    row = catalog.Row("Turn", f"{__name__}:Turn", "measure", "turning", Access.LABELS, "nobody", question="turning")
    monkeypatch.setattr(catalog, "CATALOG", (*catalog.CATALOG, row))
    for module in ("plan", "result"):
        monkeypatch.setattr(f"brinell.auditing.{module}.CATALOG", catalog.CATALOG)
    asked = catalog.Asked("turning", f"{__name__}:Turning", "does it turn?")
    monkeypatch.setattr("brinell.auditing.question.QUESTIONS", (*catalog.QUESTIONS, asked))


def subject(seed: int = 0) -> brinell.Subject:
    net = network(seed=seed)
    x, y = examples(network())
    return brinell.Subject(brinell.target(net), (x, y), groups=[0] * len(y))


def test_it_is_asked_beside_others_and_answers_for_itself(tmp_path):
    run = brinell.audit(subject(), [Turning(), brinell.Calibration()], out=tmp_path)
    assert set(run.answers) == {"turning", "calibration"}
    x, _ = examples(network())
    same = network()(x.flip(1)).argmax(1) == network()(x).argmax(1)
    assert run.answers["turning"].figure("same").value == pytest.approx(float(same.double().mean()))
    assert run.result.status == "complete"
    assert brinell.Audit.open(tmp_path).answers["turning"].figure("same") == run.answers["turning"].figure("same")
    with pytest.raises(UsageError, match="not asked about evasion"):
        run.bracket  # noqa: B018
    with pytest.raises(UsageError, match="turning has no figure 'other' in this run; it has same"):
        run.answers["turning"].figure("other")


def test_it_is_shown_on_every_face():
    run = brinell.audit(subject(), [Turning()])
    assert "turned in front" in render(run)
    assert "turned in full" in render(run)
    assert "150 turned" in repr(run)
    assert "turning" in run._repr_html_()
    assert "turned in a terminal" in table(run).renderables  # type: ignore[attr-defined]


def test_a_killed_run_goes_on_the_same(tmp_path):
    brinell.audit(subject(), [Turning()], out=tmp_path / "whole")
    left = [3]

    def stop(progress: object) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    cut = brinell.audit(subject(), [Turning()], out=tmp_path / "cut", on_progress=stop, workers=1)
    assert cut.result.status == "interrupted"
    assert 0 < len(tables(tmp_path / "cut")["work"]) < len(tables(tmp_path / "whole")["work"])
    brinell.audit(subject(), [Turning()], out=tmp_path / "cut")
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")


def test_gates_and_comparisons_know_it():
    run = brinell.audit(subject(), [Turning()])
    assert gate(run, [Requirement.parse("turning.same>=0")])[0].outcome is Ruled.PASS
    assert gate(run, [Requirement.parse("turning.same>=1")])[0].outcome is not Ruled.PASS
    (difference,) = compare(run, brinell.audit(subject(seed=3), [Turning()]))
    assert difference.name == "turning.same"
    assert difference.n == 150
    with pytest.raises(CannotRun, match="the runs ask other questions"):
        compare(run, brinell.audit(subject(), [brinell.Calibration()]))


def test_what_it_lacks_leaves_it_out_and_is_refused_where_it_is_all():
    bare = brinell.Subject(subject().target, examples(network()))
    run = brinell.audit(bare, [Turning(), brinell.Calibration()])
    assert run.result.not_asked == {"turning": "give groups"}
    assert gate(run, [Requirement.parse("turning.same>=0")])[0].seen == "turning was not asked: give groups"
    with pytest.raises(UsageError, match="turning cannot be asked: give groups"):
        brinell.audit(bare, [Turning()])


def test_its_own_stages_of_a_plan_are_its_own():
    plan = Plan(name="mine", stages=(Stage(engine="Turn", settings={"shift": 0.5}),))
    run = brinell.audit(subject(), [Turning(), brinell.Calibration()], plan=plan)
    assert [stage.label for stage in run.answers["turning"].summary.plan.stages] == ["Turn(shift=0.5)"]
    assert [stage.engine for stage in run.answers["calibration"].summary.plan.stages] == ["Probabilities"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "no question is asked"),
        ([1], "a question is 1"),
        ([Turning(), Turning()], "asked twice"),
        ("evasion", "a question is 'evasion'"),
    ],
)
def test_what_is_no_question_is_refused(asked, sentence):
    with pytest.raises(UsageError, match=sentence):
        brinell.audit(subject(), asked)


def test_a_subject_is_refused_where_it_cannot_be_one():
    x, y = examples(network())
    target = brinell.target(network())
    for options, sentence in (
        ({"target": network(), "data": (x, y)}, "target is a Sequential; make it one: brinell.target"),
        ({"target": target, "data": 3}, "data is 3; give"),
        ({"target": target, "data": (x, y), "groups": [1]}, "groups are 1, and there are 150 examples"),
        ({"target": target, "data": (x, y), "train": 3}, "train is 3"),
    ):
        with pytest.raises(UsageError, match=sentence):
            brinell.Subject(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="threat is None"):
        brinell.audit(target, (x, y))
    with pytest.raises(UsageError, match="a Subject is asked questions"):
        brinell.audit(brinell.Subject(target, (x, y)), [brinell.Calibration()], brinell.Threat(brinell.Linf(0.1)))
    assert torch.equal(brinell.Subject(target, (x, y)).examples.x, x)
