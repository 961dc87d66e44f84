"""VNN-LIB 1.0: boxes of inputs, and conjunctions and disjunctions over outputs, in an S-expression file.

The file asserts what is unsafe. Inputs are X_0, X_1, …, outputs Y_0, Y_1, …; an assertion compares linear expressions
of them. Source: the VNN-LIB 1.0 standard, as the VNN-COMP files of 2021 to 2025 use it.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple, final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import CannotRun
from brinell.proofs.network.operators import Interval
from brinell.proofs.property.property import Case, Inequality, Property
from brinell.proofs.property.witness import Witness
from brinell.targets.reading import read_bytes, unpacked

MOST_CASES = 10_000
MOST_COMPARISONS = 10_000_000
MOST_CHARACTERS = 2**26
DEEPEST = 100
LONGEST = 2000


def read_vnnlib(path: str | os.PathLike[str]) -> Property:
    """The property of a file, which may be gzip. Raises CannotRun with the line and column of what is wrong."""
    file = Path(path)
    content = unpacked(read_bytes(file), file, MOST_CHARACTERS)
    if len(content) > MOST_CHARACTERS:
        raise CannotRun(f"{file}: longer than {MOST_CHARACTERS >> 20} MiB; that is no property")
    try:
        return parse_vnnlib(content.decode("utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise CannotRun(f"{file}: not a text; a property is a VNN-LIB 1.0 file") from error


def parse_vnnlib(text: str, name: str = "property") -> Property:
    """The property of a text. name: how errors call it."""
    return _Reader(text, name).property()


def answer_text(verdict: str, witness: Witness | None) -> str:
    """As VNN-COMP's tools write it: the verdict, then every input and output of the witness."""
    if witness is None:
        return f"{verdict}\n"
    values = [(f"X_{i}", v) for i, v in enumerate(witness.x.tolist())]
    values += [(f"Y_{i}", v) for i, v in enumerate(witness.y.tolist())]
    return f"{verdict}\n(" + "\n".join(f"({name} {value!r})" for name, value in values) + ")\n"


class Word(NamedTuple):
    """at: where it begins in the text."""

    text: str
    at: int


class Group(NamedTuple):
    """What is between two parentheses, the first of which is `at`."""

    parts: list["Word | Group"]
    at: int


Expression = Word | Group


@final
@dataclass(frozen=True)
class Comparison:
    """sum of coefficient * variable <= limit, or < where it is strict, in the very numbers of the file."""

    coefficients: tuple[tuple[str, Fraction], ...]
    limit: Fraction
    strict: bool
    at: int

    @cached_property
    def row(self) -> Inequality:
        """Of outputs."""
        return Inequality(tuple((int(name[2:]), a) for name, a in self.coefficients), self.limit, self.strict)


@final
@dataclass(frozen=True)
class Bound:
    """What an input is at most, or at least; strict where it is not equal to that. at: where it is said."""

    limit: Fraction
    strict: bool
    at: int

    def float64(self, towards: float, exact: bool) -> float:
        """The nearest float64 that keeps to the bound: to the decimal number where `exact`, else to its float64."""
        nearest = _float(self.limit)
        if not math.isfinite(nearest):
            return nearest
        side = (Fraction(nearest) - self.limit) * (1 if towards > 0 else -1) if exact else 0
        return math.nextafter(nearest, towards) if side < 0 or (self.strict and side <= 0) else nearest


Clause = list[Comparison]
"""All of them hold."""


@final
@dataclass(frozen=True)
class Limits:
    """What a clause says: of inputs the least and the largest value, by index; of outputs, rows."""

    low: dict[int, Bound] = field(default_factory=dict)
    high: dict[int, Bound] = field(default_factory=dict)
    rows: list[Comparison] = field(default_factory=list)

    def crossed(self, *others: "Limits") -> int | None:
        """An input bounded here that no number is left to, with what others say of it."""
        for i in {**self.low, **self.high}:
            lows = [limits.low[i] for limits in (self, *others) if i in limits.low]
            highs = [limits.high[i] for limits in (self, *others) if i in limits.high]
            if lows and highs:
                low, high = max(lows, key=_highest), min(highs, key=_lowest)
                if low.limit > high.limit or (low.limit == high.limit and (low.strict or high.strict)):
                    return i
        return None


@final
class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._declared: dict[str, int] = {}

    def property(self) -> Property:
        asserted: list[list[Clause]] = []
        for command in self._commands():
            head, _ = self._head(command)
            if head == "declare-const":
                self._declare(command)
            elif head == "assert":
                asserted.append(self._formula(self._only(command, 1)[0]))
            elif head not in ("set-logic", "set-info", "set-option", "check-sat", "exit", "get-model"):
                raise self._wrong(command.at, f"{_shown(head)} is no command of VNN-LIB 1.0")
        inputs, outputs = self._count("X"), self._count("Y")
        always, either = self._apart(asserted, len(self._text))
        common = self._limits(always)
        boxes = _boxes(_everywhere(inputs), common)
        cases, empty = [], None
        beyond = common.crossed()
        for some in product(*either):
            own = self._limits([comparison for clause in some for comparison in clause])
            crossed = own.crossed(common) if beyond is None else beyond
            if crossed is not None:
                empty = empty or self._crossed(crossed, common, own)
                continue
            (low, high), *inner = _boxes(boxes, own)
            said = common.rows + own.rows
            case = Case(low, high, *_rows(said, outputs), tuple(inner), tuple(comparison.row for comparison in said))
            self._bounded(case)
            cases.append(case)
        if empty is not None and not cases:
            raise empty
        return Property(tuple(cases))

    def _commands(self) -> Iterator[Group]:
        """What stands between outer parentheses."""
        stack: list[Group] = []
        for token in re.finditer(r";[^\n]*|[()]|\|[^|]*\||\"[^\"]*\"|[^\s();|\"]+|[|\"]", self._text):
            word, at = token.group(), token.start()
            if word == "(":
                stack.append(Group([], at))
                if len(stack) > DEEPEST:
                    raise self._wrong(at, f"more than {DEEPEST} parentheses deep")
            elif word == ")":
                if not stack:
                    raise self._wrong(at, "a parenthesis closes that was never opened")
                whole = stack.pop()
                if stack:
                    stack[-1].parts.append(whole)
                else:
                    yield whole
            elif word[0] != ";":
                if not stack:
                    raise self._wrong(at, f"{_shown(word)} outside parentheses")
                if word in ("|", '"'):
                    raise self._wrong(at, f"a quotation {word} that does not end")
                stack[-1].parts.append(Word(word, at))
        if stack:
            raise self._wrong(stack[-1].at, "a parenthesis that is never closed")

    def _declare(self, command: Group) -> None:
        name, kind = (self._word(part) for part in self._only(command, 2))
        if not re.fullmatch(r"[XY]_(0|[1-9][0-9]{0,7})", name):
            raise self._wrong(command.at, f"{_shown(name)} is neither an input X_0, X_1, … nor an output Y_0, Y_1, …")
        if kind != "Real":
            raise self._wrong(command.at, f"{name} is declared as {_shown(kind)}; variables are Real")
        if name in self._declared:
            raise self._wrong(command.at, f"{name} is declared twice")
        self._declared[name] = command.at

    def _count(self, letter: str) -> int:
        names = [name for name in self._declared if name[0] == letter]
        missing = next((i for i in range(len(names)) if f"{letter}_{i}" not in self._declared), None)
        if not names:
            raise self._wrong(len(self._text), f"{letter}_0 is not declared")
        if missing is not None:
            last = max(names, key=lambda name: int(name[2:]))
            raise self._wrong(self._declared[last], f"{last} is declared and {letter}_{missing} is not")
        return len(names)

    def _formula(self, formula: Expression) -> list[Clause]:
        """Its disjunctive normal form."""
        head, parts = self._head(formula)
        if head in ("<=", ">=", "<", ">", "="):
            if len(parts) != 2:
                raise self._wrong(formula.at, f"{head} compares two expressions, here {len(parts)}")
            left, right = (self._linear(part) for part in parts)
            strict = head in ("<", ">")
            up, down = (self._comparison(*sides, strict, formula.at) for sides in ((left, right), (right, left)))
            return [{"<": [up], ">": [down], "=": [up, down]}[head[0]]]
        if head not in ("and", "or") or not parts:
            raise self._wrong(formula.at, f"{_shown(head)} is no comparison, and no conjunction or disjunction of some")
        inner = [self._formula(part) for part in parts]
        if head == "or":
            return [clause for clauses in inner for clause in clauses]
        always, either = self._apart(inner, formula.at)
        self._affordable(either, len(always), formula.at)
        return [always + [comparison for clause in some for comparison in clause] for some in product(*either)]

    def _apart(self, inner: list[list[Clause]], at: int) -> tuple[Clause, list[list[Clause]]]:
        """Of a conjunction, what holds in each case, and the disjunctions, if their cases can be written out."""
        always = [comparison for clauses in inner if len(clauses) == 1 for comparison in clauses[0]]
        either = [clauses for clauses in inner if len(clauses) > 1]
        if math.prod(map(len, either)) > MOST_CASES:
            raise self._wrong(at, f"more than {MOST_CASES} cases once its disjunctions are multiplied out")
        self._affordable(either, sum(max(map(len, clauses)) for clauses in either), at)
        return always, either

    def _affordable(self, either: list[list[Clause]], each: int, at: int) -> None:
        """Refuse so many comparisons in each case."""
        if either and each * math.prod(map(len, either)) > MOST_COMPARISONS:
            raise self._wrong(at, f"more than {MOST_COMPARISONS} comparisons once its disjunctions are multiplied out")

    def _comparison(self, left: dict[str, Fraction], right: dict[str, Fraction], strict: bool, at: int) -> Comparison:
        """left <= right, or left < right."""
        names = [name for name in {**left, **right} if name]
        coefficients = [(name, left.get(name, _NONE) - right.get(name, _NONE)) for name in names]
        limit = right.get("", _NONE) - left.get("", _NONE)
        if not all(math.isfinite(_float(number)) for number in (limit, *(a for _, a in coefficients))):
            raise self._wrong(at, "its numbers come to more than a float64 can hold")
        return Comparison(tuple((name, a) for name, a in coefficients if a != 0), limit, strict, at)

    def _linear(self, expression: Expression) -> dict[str, Fraction]:
        """Coefficients by variable; the constant has no name."""
        if isinstance(expression, Word):
            word = expression.text
            return {word: Fraction(1)} if word in self._declared else {"": self._number(expression)}
        head, parts = self._head(expression)
        terms = [self._linear(part) for part in parts]
        if head in ("+", "-") and terms:
            signs = [1] + [1 if head == "+" else -1] * (len(terms) - 1)
            signs = [-1] if head == "-" and len(terms) == 1 else signs
            total: dict[str, Fraction] = {}
            for sign, term in zip(signs, terms, strict=True):
                for name, a in term.items():
                    total[name] = total.get(name, _NONE) + sign * a
            return total
        if head == "*" and len(terms) == 2:
            for factor, other in (terms, terms[::-1]):
                if set(factor) <= {""}:
                    return self._times(factor.get("", _NONE), other, expression.at)
            raise self._wrong(expression.at, "two variables multiplied; expressions are linear")
        raise self._wrong(expression.at, f"{_shown(head)} of {len(terms)} terms is no linear expression")

    def _times(self, factor: Fraction, term: dict[str, Fraction], at: int) -> dict[str, Fraction]:
        """Numbers do not grow beyond all floats, so that they stay short."""
        product_ = {name: factor * a for name, a in term.items()}
        if not all(math.isfinite(_float(a)) for a in product_.values()):
            raise self._wrong(at, "its numbers come to more than a float64 can hold")
        return product_

    def _number(self, word: Word) -> Fraction:
        parts = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word.text, re.ASCII)
        if parts is None or not math.isfinite(float(word.text)):
            raise self._wrong(word.at, f"{_shown(word.text)} is neither a declared variable nor a finite number")
        if len(word.text) > LONGEST or abs(int((parts[2] or "e0")[1:])) > LONGEST:
            raise self._wrong(word.at, f"{_shown(word.text)} has more than {LONGEST} digits")
        return Fraction(word.text)

    def _limits(self, clause: Clause) -> Limits:
        limits = Limits()
        for said in clause:
            letters = {name[0] for name, _ in said.coefficients}
            if letters == {"X"} and len(said.coefficients) == 1:
                ((name, a),) = said.coefficients
                i, bound = int(name[2:]), Bound(said.limit / a, said.strict, said.at)
                if a > 0:
                    limits.high[i] = min(limits.high.get(i, bound), bound, key=_lowest)
                else:
                    limits.low[i] = max(limits.low.get(i, bound), bound, key=_highest)
            elif "X" in letters:
                raise self._wrong(said.at, "an input compared with a variable; inputs have boxes")
            else:
                limits.rows.append(said)
        return limits

    def _crossed(self, i: int, common: Limits, own: Limits) -> CannotRun:
        """What leaves a case without an input."""
        lows = [limits.low[i] for limits in (common, own) if i in limits.low]
        highs = [limits.high[i] for limits in (common, own) if i in limits.high]
        low, high = max(lows, key=_highest), min(highs, key=_lowest)
        least, most = ("more than" if low.strict else "at least"), ("less than" if high.strict else "at most")
        return self._wrong(
            max(bound.at for bound in (*lows, *highs)),
            f"X_{i} is to be {least} {_float(low.limit):g} and {most} {_float(high.limit):g}; no input is both",
        )

    def _bounded(self, case: Case) -> None:
        open_ = (~(case.low.isfinite() & case.high.isfinite())).nonzero().flatten().tolist()
        if open_:
            raise self._wrong(self._declared[f"X_{open_[0]}"], f"X_{open_[0]} is not bounded from below and above")

    def _head(self, expression: Expression) -> tuple[str, Sequence[Expression]]:
        """(its first word, the rest)."""
        if isinstance(expression, Word):
            raise self._wrong(expression.at, f"{_shown(expression.text)} where a list in parentheses was expected")
        if not expression.parts or not isinstance(expression.parts[0], Word):
            raise self._wrong(expression.at, "a list that does not begin with a word")
        return expression.parts[0].text, expression.parts[1:]

    def _word(self, expression: Expression) -> str:
        if not isinstance(expression, Word):
            raise self._wrong(expression.at, "a list where a word was expected")
        return expression.text

    def _only(self, command: Group, count: int) -> Sequence[Expression]:
        head, parts = self._head(command)
        if len(parts) != count:
            raise self._wrong(command.at, f"{head} has {len(parts)} arguments; it takes {count}")
        return parts

    def _wrong(self, at: int, what: str) -> CannotRun:
        line = self._text.count("\n", 0, at) + 1
        return CannotRun(f"{self._name}:{line}:{at - self._text.rfind(chr(10), 0, at)}: {what}")


_NONE = Fraction(0)


def _float(number: Fraction) -> float:
    """The nearest; infinite where there is none."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _lowest(bound: Bound) -> tuple[Fraction, bool]:
    """Of what an input is at most, the least is the tightest, and a strict one tighter than another."""
    return bound.limit, not bound.strict


def _highest(bound: Bound) -> tuple[Fraction, bool]:
    """The same of what it is at least."""
    return bound.limit, bound.strict


def _everywhere(inputs: int) -> list[Interval]:
    ends = tuple(torch.full((inputs,), sign * torch.inf, dtype=torch.float64) for sign in (-1, 1))
    return [(ends[0], ends[1])] * 3


def _boxes(boxes: list[Interval], said: Limits) -> list[Interval]:
    """The boxes met with what is said: closed, of float64s; as it is written; as the float64s nearest to it are."""
    made = []
    for place, (low, high) in enumerate(boxes):
        lows, highs = (
            {i: bound.float64(towards, place == 1) if place else _float(bound.limit) for i, bound in bounds.items()}
            for towards, bounds in ((math.inf, said.low), (-math.inf, said.high))
        )
        made.append((_tightened(low, lows, torch.maximum), _tightened(high, highs, torch.minimum)))
    return made


def _tightened(
    limit: Float64[Tensor, " inputs"], said: Mapping[int, float], tighter: Callable[[Tensor, Tensor], Tensor]
) -> Float64[Tensor, " inputs"]:
    """The limits of all inputs with those of some; the same tensor where there are none."""
    if not said:
        return limit
    places = torch.tensor(list(said))
    values = torch.tensor(list(said.values()), dtype=torch.float64)
    return limit.index_put((places,), tighter(limit[places], values))


def _rows(said: list[Comparison], outputs: int) -> tuple[Tensor, Tensor]:
    """(weights, offsets) of what is said about outputs."""
    weights = torch.zeros(len(said), outputs, dtype=torch.float64)
    for row, comparison in enumerate(said):
        for name, a in comparison.coefficients:
            weights[row, int(name[2:])] = float(a)
    return weights, torch.tensor([_float(-comparison.limit) for comparison in said], dtype=torch.float64)


def _shown(word: str) -> str:
    """Foreign text in a message: short, and nothing in it acts."""
    return repr(word if len(word) <= 40 else word[:39] + "…")
