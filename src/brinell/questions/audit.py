"""The audit: one call from a subject and questions to their answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from brinell.arguments import a_kind, checked
from brinell.auditing.drive import Progress
from brinell.auditing.plan import Plan
from brinell.auditing.question import Question
from brinell.auditing.run import Run, conduct
from brinell.auditing.subject import Subject
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.evidence import Bracket, Verdict, Witness
from brinell.questions.calibration import Calibration
from brinell.questions.evasion.answer import EvasionAnswer, Reach
from brinell.questions.evasion.evasion import Evasion
from brinell.questions.evasion.summary import EvasionSummary
from brinell.targets import Target
from brinell.targets.generators import generators_kept
from brinell.threat import Threat


@final
class Audit(Run):
    """A finished or partial run: the answers to its questions, and of evasion, where it was asked, the bracket itself.

    path: the run's folder. result: every figure, as in `result.json`. answers: one a question, by its name. What speaks
    of brackets, verdicts and witnesses raises UsageError where evasion was not asked.
    """

    @property
    def _evasion(self) -> EvasionAnswer:
        asked = [answer for answer in self.answers.values() if isinstance(answer, EvasionAnswer)]
        if not asked:
            raise UsageError("this run was not asked about evasion; ask brinell.Evasion(threat)")
        return asked[0]

    @property
    def evasion(self) -> EvasionSummary:
        """All figures of evasion."""
        return self._evasion.summary

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii asked about, ascending."""
        return self._evasion.radii

    @property
    def ids(self) -> tuple[int, ...]:
        """The examples' row numbers in their source."""
        return self._evasion.ids

    @property
    def examples(self) -> tuple[str, ...]:
        """Each example's own name, made of its row number, label and values."""
        return self._evasion.examples

    @property
    def bracket(self) -> Bracket:
        """The bracket at the largest radius asked about."""
        return self._evasion.bracket

    @property
    def verdicts(self) -> list[Verdict]:
        """One verdict an example, at the largest radius asked about."""
        return self._evasion.verdicts

    @property
    def witnesses(self) -> list[Witness]:
        """The nearest witness of each broken example."""
        return self._evasion.witnesses

    @property
    def reaches(self) -> list[Reach]:
        """What was shown of each example at any radius: up to where it is certified, and from where it is broken."""
        return self._evasion.reaches

    @checked()
    def at(self, radius: float) -> Bracket:
        """The bracket at any radius: what was shown at others is carried over."""
        return self._evasion.at(radius)

    @checked()
    def verdicts_at(self, radius: float) -> list[Verdict]:
        """One verdict an example, at any radius."""
        return self._evasion.verdicts_at(radius)


@checked(but=("target", "data", "threat"))
@generators_kept()
def audit(
    target: Target | Subject,
    data: Dataset | tuple[Any, Any] | Sequence[Question],
    threat: Threat | None = None,
    plan: str | Path | Plan | Mapping[str, Plan] = "standard",
    budget: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    *,
    radii: Sequence[float] | None = None,
    workers: int | None = None,
    accept: str | Sequence[str] = (),
    diagnose: bool = True,
    labels: Mapping[float, str] | None = None,
    sources: dict[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Put questions to a model; or, of a target, data and a threat, bracket how often it can be broken.

        brinell.audit(target, (x, y), brinell.Threat(brinell.Linf(8 / 255)))
        brinell.audit(brinell.Subject(target, (x, y)), [brinell.Evasion(threat), brinell.Calibration()])

    target: a Target, or a Subject with what else questions need. data: (x, y), inputs in the target's box and class
    indices, or a Dataset; with a Subject, the questions. threat: of a target. plan: quick, standard, full, a file, a
    Plan, or a Plan for each question by its name. budget: seconds for all of it, None to finish the plan. out: the
    run's folder, where the same call continues; None keeps it for as long as the Audit lives. seed decides every random
    choice. radii: several in one run, in place of the threat's own. workers: None is one a core, or one for an
    accelerator; figures do not depend on it. accept: codes of findings to go on in spite of, such as "zero-gradients".
    diagnose: whether the attacks are put to the test. labels: how radii are written. sources: kept with the run.
    on_progress is called after every shard.

    A target that shows scores is also asked about calibration, which costs a pass over the data.
    Preflights come first and diagnoses next, once a run: `Audit.findings` has what they saw. Ctrl-C ends it early with
    what was shown so far. Raises UsageError on unfit arguments, Inconclusive on a severe finding of a preflight that is
    not accepted, CannotRun where `out` cannot be written or holds another run, Contradiction if a witness meets a
    certificate.
    """
    if budget is not None and not budget >= 0:
        raise UsageError(f"budget is {budget}; it must be seconds >= 0, or None to finish the plan")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1, or None for one a core")

    if isinstance(target, Subject) and (radii is not None or labels is not None or not diagnose):
        raise UsageError("radii, labels and diagnose are the question's: give brinell.Evasion(threat, radii, ...)")
    if isinstance(target, Subject):
        subject = target
        questions: Sequence[Question] = _questions(data, threat)
    else:
        subject, questions = _evasion(target, data, threat, radii, labels, diagnose)
    return conduct(
        subject,
        questions,
        plan,
        budget,
        out,
        seed,
        workers=workers,
        accept=(accept,) if isinstance(accept, str) else accept,
        sources=sources,
        on_progress=on_progress,
        read=Audit.read,
    )


def _questions(data: object, threat: object) -> list[Question]:
    """The questions that a subject is asked."""
    if threat is not None:
        raise UsageError("a Subject is asked questions; give [brinell.Evasion(threat)] in place of data and threat")
    given = data if isinstance(data, list | tuple) else [data]
    asked = [question for question in given if isinstance(question, Question)]
    for other in given:
        if not isinstance(other, Question):
            raise UsageError(f"a question is {a_kind(other)}; give such as brinell.Evasion(threat)")
    if not asked:
        raise UsageError("no question is asked; give such as [brinell.Evasion(threat)]")
    return asked


def _evasion(
    target: Target,
    data: Any,
    threat: Threat | None,
    radii: Sequence[float] | None,
    labels: Mapping[float, str] | None,
    diagnose: bool,
) -> tuple[Subject, Sequence[Question]]:
    """Evasion, and what any audit is asked besides."""
    if not isinstance(threat, Threat):
        raise UsageError(f"threat is {a_kind(threat)}; make it one: brinell.Threat(brinell.Linf(0.1))")
    subject = Subject(target, data)
    return subject, [Evasion(threat, radii, labels, diagnose), Calibration()]
