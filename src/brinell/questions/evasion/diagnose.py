"""Diagnosis: is an evaluation of this target to be believed? Sanity checks of the attacks.

Sources: the flags of the authors' AutoAttack (github.com/fra31/auto-attack); the indicators of attack failure (Pintor
et al. 2022, arXiv:2106.09947); the checklist for evaluations (Carlini et al. 2019, arXiv:1902.06705). Each check
compares attacks that a sound evaluation would rank, on a few examples that the target gets right.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import FrameType
from typing import Any, ClassVar, Literal, cast, final

import torch

from brinell.arguments import checked
from brinell.auditing.finding import Finding, ordered
from brinell.auditing.plan import find
from brinell.auditing.work import seed_of
from brinell.data import Dataset, given
from brinell.errors import UsageError
from brinell.evasion import APGD, FGSM, Attack, Found, Hunt, Noise, Square, margin
from brinell.evasion.attack import finite_radius
from brinell.evasion.attack import run as run_attack
from brinell.evasion.objective import of_rows
from brinell.evidence.judge import decides
from brinell.questions.evasion.adaptive import MISLEADING
from brinell.questions.evasion.preflight import answers, check
from brinell.questions.evasion.summary import Diagnosis
from brinell.targets import Target, TargetError
from brinell.targets.examples import check_examples
from brinell.targets.generators import generators_kept
from brinell.threat import Access, Threat
from brinell.types import Inputs, Labels, Mask, Scores

STRONG = APGD(steps=40, objective=margin)
"""The white-box attack that is put to the test unless another is given."""

SAMPLE = 48
"""Examples tried, at most."""

PASSES = 10
"""Fresh looks at each witness."""

ALIGNMENT = 0.8
"""The median cosine of two gradients from which they are called aligned."""

_FEW = 0.03
"""The share of examples on which a weaker attack may win by chance; one example always may."""


@checked(but=("data",))
@generators_kept()
def diagnose(
    target: Target,
    data: Dataset | tuple[Any, Any],
    threat: Threat,
    attack: Attack = STRONG,
    *,
    surrogate: Target | None = None,
    seed: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
) -> Diagnosis:
    """Put an evaluation of `target` by `attack` to the test, with what preflight finds in front.

    data: (x, y) or a Dataset; at most SAMPLE examples that the target gets right are tried. threat: of a finite
    radius. surrogate: another model of the same task, in whose place the target might be attacked. seed decides every
    random choice. checkpoint is called before the target is asked; what it raises passes through. A check that needs
    more than the target shows is left out of `checks`. Raises UsageError on unfit arguments.
    """
    finite_radius(attack, threat.set)
    if not threat.set.radius > 0:
        raise UsageError(f"radius is {threat.set.radius}; a diagnosis needs one > 0")
    dataset = given(data).meeting(target.classes, target.features, target.box)
    findings = check(target, dataset)
    threat = threat.within(target.box)
    diagnosis = Diagnosis(examples=0, radius=threat.set.radius, checks=(), findings=tuple(findings))
    for latest in diagnosing(target, dataset, threat, findings, attack, surrogate, seed, checkpoint):
        diagnosis = latest
    return diagnosis


def diagnosing(
    target: Target,
    data: Dataset,
    threat: Threat,
    findings: Sequence[Finding],
    attack: Attack = STRONG,
    surrogate: Target | None = None,
    seed: int = 0,
    checkpoint: Callable[[], None] = lambda: None,
    most: int = SAMPLE,
    brief: bool = False,
) -> Iterator[Diagnosis]:
    """The diagnosis as it stands before each test and after the last; `left` names the tests that are still to come.

    threat: within the target's box. findings: those of the preflight. most: examples to try. brief: without the attacks
    that need no gradients, where gradients are aligned and no other test speaks against them.
    """
    nothing = Diagnosis(examples=0, radius=threat.set.radius, checks=(), findings=tuple(ordered(findings)))
    chosen = _right(target, data, threat, most)
    if chosen is None:
        yield nothing
        return
    check_examples(target, chosen.x, chosen.y, threat)
    trial = _Trial(target, chosen, threat, attack, surrogate, seed, checkpoint)
    codes = [code for code, one in _CHECKS.items() if one.applies(trial)]
    done: list[str] = []
    found = {f.code: f for f in findings}
    for begun, code in enumerate(codes):
        if brief and code in _BLIND and trust(done, found):
            continue
        yield _so_far(nothing, len(chosen), done, codes[begun:], found)
        try:
            seen = list(_CHECKS[code].run(trial))
            done.append(code)
        except TargetError as error:
            seen = [_finding("raises-near", "warning", f"{code} could not be executed: {error}", _RAISES)]
        found |= {f.code: f for f in seen}  # what preflight saw too is told with its examples
    yield _so_far(nothing, len(chosen), done, (), found)


def trust(checks: Collection[str], findings: Collection[str]) -> bool:
    """Whether these tests found gradients aligned, and nothing that speaks against them. findings: their codes."""
    return "misaligned" in checks and not {"misaligned", *MISLEADING}.intersection(findings)


def _so_far(
    begun: Diagnosis, examples: int, done: Sequence[str], left: Sequence[str], found: Mapping[str, Finding]
) -> Diagnosis:
    findings = tuple(ordered(found.values()))
    return begun.model_copy(
        update={"examples": examples, "checks": tuple(done), "left": tuple(left), "findings": findings}
    )


@final
@dataclass(frozen=True)
class _Check:
    """One test: the access it needs, what it does, and whether there is anything to do it with."""

    needs: Access
    run: Callable[["_Trial"], Iterator[Finding]]
    wants: Callable[["_Trial"], bool] = lambda trial: True

    def applies(self, trial: "_Trial") -> bool:
        return trial.access >= self.needs and self.wants(trial)


@final
@dataclass
class _Trial:
    """The examples, and the attacks that have been run on them: each once, whoever asks."""

    target: Target
    data: Dataset
    threat: Threat
    attack: Attack
    surrogate: Target | None
    seed: int
    checkpoint: Callable[[], None]

    @property
    def x(self) -> Inputs:
        return self.data.x

    @property
    def y(self) -> Labels:
        return self.data.y

    @property
    def n(self) -> int:
        return len(self.data)

    @property
    def access(self) -> Access:
        return min(self.target.access, self.threat.access)

    @property
    def radius(self) -> float:
        return self.threat.set.radius

    def hunt(self, attack: Attack, radius: float, rows: Mask | None = None, at: Target | None = None) -> "_Outcome":
        """An attack on the examples, or on some of them."""
        watched = _Watched(attack)
        seed = seed_of(self.seed, "diagnosis", type(attack).__name__, radius)
        rng = torch.Generator(self.x.device).manual_seed(seed)
        rows = torch.ones(self.n, dtype=torch.bool) if rows is None else rows
        x, y = self.x[rows], self.y[rows]
        found = run_attack(watched, at or self.target, x, y, self.threat.at(radius), rng, self.checkpoint)
        return _Outcome(found, watched.hunts[0])

    def ids(self, rows: Mask) -> tuple[int, ...]:
        return tuple(self.data.ids[rows.cpu()].tolist()[:20])

    def few(self, rows: Mask) -> bool:
        """Whether so few examples may be chance."""
        return int(rows.sum()) <= max(1, _FEW * self.n)

    @cached_property
    def strong(self) -> "_Outcome":
        """The attack that is put to the test."""
        return self.hunt(self.attack, self.radius)

    @cached_property
    def longer(self) -> "_Outcome":
        """The same with twice the steps."""
        twice: Attack = replace(cast(Any, self.attack), steps=2 * cast(Any, self.attack).steps)
        return self.hunt(twice, self.radius)

    @cached_property
    def farther(self) -> "_Outcome":
        """The same at twice the radius."""
        return self.hunt(self.attack, self.twice)

    @property
    def twice(self) -> float:
        """Twice the radius, or as far as the box is wide."""
        return max(self.radius, min(2 * self.radius, _widest(self)))

    @property
    def witnesses(self) -> tuple[Inputs, Labels, Labels | None]:
        """What the attack that is put to the test found, with labels and aims; rows for the broken alone."""
        won = self.strong.broken
        return self.strong.found.x[won], self.y[won], None if self.aims is None else self.aims[won]

    @cached_property
    def slopes(self) -> Inputs:
        """The gradients of the margin at the clean examples."""
        return self.slopes_at(self.x)

    def slopes_at(self, x: Inputs) -> Inputs:
        """The gradients of the margin at other inputs in the examples' place; 0 where they are not finite."""
        return self.target.gradient(x, of_rows(margin, self.y, self.aims))[2].nan_to_num(0.0, 0.0, 0.0)

    @cached_property
    def values(self) -> Scores:
        """The margins of the clean examples."""
        return margin(self.target.scores(self.x), self.y, self.aims)

    @cached_property
    def aims(self) -> Labels | None:
        return self.threat.goal.aims(self.y, self.target.scores(self.x) if self.access >= Access.SCORES else None)


@final
@dataclass(frozen=True)
class _Watched(Attack):
    """Another attack, and the hunt it was called on."""

    inner: Attack
    hunts: list[Hunt] = field(default_factory=list)
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        self.hunts.append(hunt)
        self.inner(hunt)


@final
@dataclass(frozen=True)
class _Outcome:
    found: Found
    hunt: Hunt

    @property
    def broken(self) -> Mask:
        return self.found.broken

    @property
    def reached(self) -> Inputs:
        """Where it left the examples that it did not break."""
        return self.hunt.outward(self.hunt.x)


def _dynamic(trial: _Trial) -> Iterator[Finding]:
    """AutoAttack's flag: a model that takes gradients of its own while it answers adapts to its input."""
    watched = {torch.autograd.grad.__code__, torch.autograd.backward.__code__}
    calls = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in watched:
            calls.append(frame.f_code.co_name)

    before = sys.getprofile()
    if before is not None:  # somebody is measuring; a profiler written in C could not be put back
        return
    sys.setprofile(note)
    try:
        trial.target.scores(trial.x[:1])
    finally:
        sys.setprofile(None)
    if calls:
        yield _finding(
            "dynamic",
            "warning",
            f"the model takes gradients while it answers, {len(calls)} for one example: it optimises at test time",
            "attack it with an objective that goes through its inner steps, or by transfer from the model without them",
        )


def _masked(trial: _Trial) -> Iterator[Finding]:
    """The gradient foretells what a small step does; where it does not, an attack that follows it is blind."""
    g = trial.slopes
    step = trial.radius / 20
    x = trial.threat.set.resized(step).project(trial.x, trial.x + step * trial.threat.set.steepest(g))
    foretold = (g.double() * (x - trial.x).double()).flatten(1).sum(1)
    risen = (margin(trial.target.scores(x), trial.y, trial.aims) - trial.values).double()
    silent = (g.flatten(1) == 0).all(1)
    if not trial.few(silent):
        yield _finding(
            "zero-gradients",
            "severe",
            f"the gradient is exactly zero on {_of(silent)} examples",
            "attack the differentiable part, put a differentiable stand-in in place of the rest (BPDA), or trust only "
            "black-box attacks",
            trial.ids(silent),
        )
    wrong = ~silent & ((risen < 0.5 * foretold) | (risen > 2 * foretold))
    if int(wrong.sum()) > trial.n / 4:
        yield _finding(
            "masked",
            "severe",
            f"a step along the gradient does not do what the gradient says on {_of(wrong)} examples: the margin rises "
            "by less than half of what it foretells, or by more than twice",
            "look for rounding, saturation or chance in front of the scores; smooth it away or average over it (EOT)",
            trial.ids(wrong),
        )


def _misaligned(trial: _Trial) -> Iterator[Finding]:
    """Gradient alignment where the attack has led, after Andriushchenko and Flammarion 2020, arXiv:2007.02617.

    They compare the loss gradient at an example with that at a random point nearby; here it is the margin's, at the end
    of the attack.
    """
    ends = trial.strong.found.x.clone()
    ends[trial.strong.hunt.rows] = trial.strong.reached
    cosines = torch.cosine_similarity(trial.slopes.flatten(1).double(), trial.slopes_at(ends).flatten(1).double())
    alignment = float(cosines.median())
    if alignment < ALIGNMENT:
        yield _finding(
            "misaligned",
            "note",
            f"the gradient turns on the way that an attack goes: its median cosine with that at the end is "
            f"{alignment:.2f}",
            "nothing, with a plan that has attacks of other kinds; do not rest on few gradient steps alone",
            trial.ids(cosines < ALIGNMENT),
        )


def _unstable(trial: _Trial) -> Iterator[Finding]:
    """Indicator 2: the margin changes much under noise that is small beside the radius."""
    rng = torch.Generator(trial.x.device).manual_seed(seed_of(trial.seed, "unstable"))
    small = trial.threat.set.resized(trial.radius / 10)
    changes = []
    for _ in range(PASSES):
        trial.checkpoint()
        near = margin(trial.target.scores(small.sample(trial.x, rng)), trial.y, trial.aims)
        changes.append((near - trial.values).abs() / trial.values.abs().clamp(min=torch.finfo(trial.values.dtype).tiny))
    change = torch.stack(changes).mean(0).clamp(max=1)
    if float(change.mean()) > 0.1:
        yield _finding(
            "unstable",
            "warning",
            f"noise of a tenth of the radius changes the margin by {float(change.mean()):.0%} on average",
            "take gradients averaged over noise (EOT), or over a smoothed model",
            trial.ids(change > 0.1),
        )


def _unconfirmed(trial: _Trial) -> Iterator[Finding]:
    """Indicator 3, as far as the hunt leaves room: it keeps every hit, but a second look may deny it."""
    denied = trial.strong.hunt.distance.isfinite() & ~trial.strong.broken
    if not trial.few(denied):
        yield _finding(
            "unconfirmed",
            "severe",
            f"{_of(denied)} examples were broken on the way and are whole when they are looked at again, alone",
            "make the model answer the same way twice, in any batch; then run again",
            trial.ids(denied),
        )


def _fresh(trial: _Trial) -> Iterator[Finding]:
    """Success as a share of fresh passes: what a witness is worth where the target draws at random."""
    won = trial.strong.broken
    if not won.any():
        return
    x, y, aims = trial.witnesses
    share = torch.stack([decides(trial.target, x, y, aims) for _ in range(PASSES)]).double().mean(0)
    loose = _spread(share < 1, won)
    if not trial.few(loose):
        yield _finding(
            "chance",
            "severe",
            f"witnesses succeed in {float(share.mean()):.0%} of {PASSES} fresh passes on average; "
            f"{_of(loose)} examples do not stay broken",
            "count success over fresh passes, and attack the average over passes (EOT)",
            trial.ids(loose),
        )


def _longer(trial: _Trial) -> Iterator[Finding]:
    """Indicator 4 and the checklist: twice the steps change neither success nor the objective."""
    first, second = trial.strong, trial.longer
    lost = first.broken & ~second.broken
    if not trial.few(lost):
        yield _finding(
            "steps",
            "warning",
            f"{_of(lost)} examples that were broken survive twice as many steps: success falls as it works longer",
            "look for chance in the model, or for a step that depends on the number of steps; add restarts",
            trial.ids(lost),
        )
    gained = second.broken & ~first.broken
    still = torch.zeros_like(gained)
    still[second.hunt.rows] = _reached(trial, second)[second.hunt.rows] > 1.2 * _reached(trial, first)[second.hunt.rows]
    still &= ~first.broken & ~second.broken
    late = gained | still
    if int(late.sum()) > max(1, 0.1 * trial.n):
        yield _finding(
            "incomplete",
            "warning",
            f"the attack stops while it still gets on: twice as many steps break {int(gained.sum())} more examples, "
            f"and get more than 20 % farther on {int(still.sum())}",
            "give it more steps, or a longer step, until neither changes",
            trial.ids(late),
        )


def _reached(trial: _Trial, outcome: _Outcome) -> Scores:
    """How far the margin of each unbroken example was raised by where the attack left it; 0 for the others."""
    risen = torch.zeros_like(trial.values)
    rows = outcome.hunt.rows
    if len(rows):
        aims = None if trial.aims is None else trial.aims[rows]
        risen[rows] = margin(trial.target.scores(outcome.reached), trial.y[rows], aims) - trial.values[rows]
    return risen


def _wider(trial: _Trial) -> Iterator[Finding]:
    """The checklist: success does not fall with the radius."""
    lost = trial.strong.broken & ~trial.farther.broken
    if not trial.few(lost):
        yield _finding(
            "radius",
            "warning",
            f"{_of(lost)} examples that were broken survive twice the radius: success falls as the radius grows",
            "scale the steps with the radius, add restarts, and look for chance in the model",
            trial.ids(lost),
        )


def _unbounded(trial: _Trial) -> Iterator[Finding]:
    """Indicator 6 and the checklist: an attack that may change anything breaks everything."""
    left = ~(trial.strong.broken | trial.farther.broken)
    widest, radius = _widest(trial), trial.twice
    while left.any() and radius < widest:
        radius = min(2 * radius, widest)
        left[left.clone()] = ~trial.hunt(trial.attack, radius, left).broken
    if left.any():
        yield _finding(
            "unbounded",
            "severe",
            f"{_of(left)} examples survive an attack that may change them at will (radius {widest:g})",
            "the attack fails, not the adversary: mend gradients, objective or steps before any figure is believed",
            trial.ids(left),
        )


def _widest(trial: _Trial) -> float:
    """The distance between the far corners of the box; of what is seen of it where it has no end."""
    low, high = trial.target.box.limits(trial.x)
    if not trial.target.box.bounded:
        low, high = trial.x.amin(0), trial.x.amax(0)
    corner = torch.zeros_like(trial.x[:1])
    return float(trial.threat.set.distance(corner + low, corner + high)[0])


def _weaker(code: str, what: str, weaker: Attack, remedy: str) -> Callable[[_Trial], Iterator[Finding]]:
    """The checklist: an attack that sees or does less breaks nothing that the one put to the test leaves."""

    def compare(trial: _Trial) -> Iterator[Finding]:
        left = ~trial.strong.broken
        if not left.any():
            return
        alone = _spread(trial.hunt(weaker, trial.radius, left).broken, left)
        if not trial.few(alone):
            severity: Literal["severe", "warning"] = "severe" if float(alone.sum()) > 0.1 * trial.n else "warning"
            yield _finding(
                code,
                severity,
                f"{what} breaks {_of(alone)} examples that the gradient attack leaves whole",
                remedy,
                trial.ids(alone),
            )

    return compare


def _transfer(trial: _Trial) -> Iterator[Finding]:
    """Indicator 5, and the checklist: what fools the surrogate fools the target, and no more than a direct attack."""
    if trial.surrogate is None:
        return
    there = trial.hunt(trial.attack, trial.radius, at=trial.surrogate)
    here = decides(trial.target, there.found.x, trial.y, trial.aims)
    lost = there.broken & ~here
    if int(lost.sum()) > 0.5 * int(there.broken.sum()):
        yield _finding(
            "transfer",
            "warning",
            f"{_of(lost)} examples are broken on the surrogate and whole on the target",
            "attack the target itself, or an average of surrogates; success on a surrogate says nothing here",
            trial.ids(lost),
        )
    alone = there.broken & here & ~trial.strong.broken
    if trial.access >= Access.GRADIENTS and not trial.few(alone):
        yield _finding(
            "transfer-stronger",
            "severe",
            f"an attack made for the surrogate breaks {_of(alone)} examples that a direct attack leaves whole",
            "the target hides its gradients: attack the surrogate as well, or a smoothed target",
            trial.ids(alone),
        )


def _eight_bit(trial: _Trial) -> Iterator[Finding]:
    """Witnesses of pictures have to survive being stored as pictures."""
    won = trial.strong.broken
    if not won.any():
        return
    x, y, aims = trial.witnesses
    lost = _spread(~decides(trial.target, _stored(trial, x), y, aims), won)
    if int(lost.sum()) > max(1, 0.1 * trial.n):  # where it would move the figure, as for incomplete search
        yield _finding(
            "eight-bit",
            "warning",
            f"{int(lost.sum())} of {int(won.sum())} witnesses are whole again once they are rounded to 8 bits",
            "count only witnesses that survive rounding, or let the attack go on a little after it succeeds",
            trial.ids(lost),
        )


def _is_eight_bit(trial: _Trial) -> bool:
    if not trial.target.box.bounded:
        return False
    low, high = trial.target.box.limits(trial.x)
    return bool(((_stored(trial, trial.x) - trial.x).abs() <= 1e-5 * (high - low)).all())


def _stored(trial: _Trial, x: Inputs) -> Inputs:
    """The nearest inputs with 256 levels from one end of the box to the other."""
    low, high = trial.target.box.limits(x)
    return low + ((x - low) / (high - low) * 255).round() / 255 * (high - low)


_RAISES = "mend the model where it raises, and run again"

_CHECKS = {
    "dynamic": _Check(Access.SCORES, _dynamic),
    "masked": _Check(Access.GRADIENTS, _masked),
    "misaligned": _Check(Access.GRADIENTS, _misaligned),
    "unstable": _Check(Access.SCORES, _unstable),
    "unconfirmed": _Check(Access.GRADIENTS, _unconfirmed),
    "chance": _Check(Access.GRADIENTS, _fresh),
    "incomplete": _Check(Access.GRADIENTS, _longer, lambda trial: hasattr(trial.attack, "steps")),
    "radius": _Check(Access.GRADIENTS, _wider),
    "unbounded": _Check(Access.GRADIENTS, _unbounded),
    "single-step": _Check(
        Access.GRADIENTS,
        _weaker(
            "single-step",
            "a single step",
            FGSM(margin),
            "the iterative attack is at fault: lengthen its step, or give it restarts",
        ),
    ),
    "noise": _Check(
        Access.GRADIENTS,
        _weaker(
            "noise",
            "random noise",
            Noise(draws=100),
            "gradients mislead: mend what hides them, and count what noise breaks",
        ),
    ),
    "black-box": _Check(
        Access.GRADIENTS,
        _weaker(
            "black-box",
            "an attack that sees scores only",
            Square(queries=300),
            "gradients are hidden: attack the differentiable part, and count what black-box attacks break",
        ),
        lambda trial: trial.threat.set.name in find("Square").sets,
    ),
    "transfer": _Check(Access.LABELS, _transfer, lambda trial: trial.surrogate is not None),
    "eight-bit": _Check(Access.GRADIENTS, _eight_bit, _is_eight_bit),
}
"""Every test, by the code of what it finds first."""

_BLIND = ("noise", "black-box")
"""The tests by attacks that need no gradients, which take the longest."""


def _right(target: Target, data: Dataset, threat: Threat, most: int) -> Dataset | None:
    """Some examples that the target answers and gets right, and that the goal leaves to be broken; None without any."""
    some = data.take(4 * most, seed=0, balanced=True)
    if answers(target, some.x):
        right = target.restrict(target.access).labels(some.x) == some.y
    else:
        right = torch.tensor(
            [
                answers(target, x[None]) and bool(target.labels(x[None])[0] == y)
                for x, y in zip(some.x, some.y, strict=True)
            ]
        )
    aim = getattr(threat.goal, "target", None)
    if aim is not None:
        right &= some.y != aim
    rows = right.nonzero().flatten()[:most]
    if not len(rows):
        return None
    return replace(some, x=some.x[rows], y=some.y[rows], ids=some.ids[rows])


def _spread(some: Mask, rows: Mask) -> Mask:
    """An answer about these rows as one about all; False for the others."""
    whole = torch.zeros_like(rows)
    whole[rows] = some
    return whole


def _of(rows: Mask) -> str:
    return f"{int(rows.sum())} of {len(rows)}"


def _finding(
    code: str,
    severity: Literal["severe", "warning", "note"],
    message: str,
    remedy: str,
    examples: tuple[int, ...] = (),
) -> Finding:
    return Finding(code=code, severity=severity, message=message, remedy=remedy, examples=examples)
