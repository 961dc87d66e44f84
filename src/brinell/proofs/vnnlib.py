"""VNN-LIB 1.0: boxes of inputs, and conjunctions and disjunctions over outputs, in an S-expression file.

The file asserts what is unsafe. Inputs are X_0, X_1, …, outputs Y_0, Y_1, …; an assertion compares linear expressions
of them. Source: the VNN-LIB 1.0 standard, as the VNN-COMP files of 2021 to 2025 use it.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import NamedTuple, final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import CannotRun
from brinell.proofs.property import Case, Property
from brinell.proofs.witness import Witness
from brinell.targets.reading import read_bytes, unpacked

MOST_CASES = 10_000
MOST_COMPARISONS = 10_000_000
MOST_CHARACTERS = 2**26
DEEPEST = 100


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
    """sum of coefficient * variable <= limit."""

    coefficients: tuple[tuple[str, float], ...]
    limit: float
    at: int


Clause = list[Comparison]
"""All of them hold."""


@final
@dataclass(frozen=True)
class Limits:
    """What a clause says: of inputs the (least, largest) value and where it is said, by index; of outputs, rows."""

    low: dict[int, tuple[float, int]] = field(default_factory=dict)
    high: dict[int, tuple[float, int]] = field(default_factory=dict)
    rows: list[Comparison] = field(default_factory=list)


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
        low = _tightened(torch.full((inputs,), -torch.inf, dtype=torch.float64), common.low, torch.maximum)
        high = _tightened(torch.full((inputs,), torch.inf, dtype=torch.float64), common.high, torch.minimum)
        cases, empty = [], None
        for some in product(*either):
            own = self._limits([comparison for clause in some for comparison in clause])
            box = _tightened(low, own.low, torch.maximum), _tightened(high, own.high, torch.minimum)
            case = Case(*box, *_rows(common.rows + own.rows, outputs))
            if case.empty:
                empty = empty or self._crossed(case, common, own)
                continue
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
            up, down = self._comparison(left, right, formula.at), self._comparison(right, left, formula.at)
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

    def _comparison(self, left: dict[str, float], right: dict[str, float], at: int) -> Comparison:
        """left <= right."""
        names = [name for name in {**left, **right} if name]
        coefficients = [(name, left.get(name, 0.0) - right.get(name, 0.0)) for name in names]
        limit = right.get("", 0.0) - left.get("", 0.0)
        if not all(map(math.isfinite, (limit, *(a for _, a in coefficients)))):
            raise self._wrong(at, "its numbers come to more than a float64 can hold")
        return Comparison(tuple((name, a) for name, a in coefficients if a != 0), limit, at)

    def _linear(self, expression: Expression) -> dict[str, float]:
        """Coefficients by variable; the constant has no name."""
        if isinstance(expression, Word):
            word = expression.text
            return {word: 1.0} if word in self._declared else {"": self._number(expression)}
        head, parts = self._head(expression)
        terms = [self._linear(part) for part in parts]
        if head in ("+", "-") and terms:
            signs = [1.0] + [1.0 if head == "+" else -1.0] * (len(terms) - 1)
            signs = [-1.0] if head == "-" and len(terms) == 1 else signs
            summands: dict[str, list[float]] = {}
            for sign, term in zip(signs, terms, strict=True):
                for name, a in term.items():
                    summands.setdefault(name, []).append(sign * a)
            return {name: _sum(values) for name, values in summands.items()}
        if head == "*" and len(terms) == 2:
            for factor, other in (terms, terms[::-1]):
                if set(factor) <= {""}:
                    return {name: factor.get("", 0.0) * a for name, a in other.items()}
            raise self._wrong(expression.at, "two variables multiplied; expressions are linear")
        raise self._wrong(expression.at, f"{_shown(head)} of {len(terms)} terms is no linear expression")

    def _number(self, word: Word) -> float:
        if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word.text, re.ASCII):
            number = float(word.text)
            if math.isfinite(number):
                return number
        raise self._wrong(word.at, f"{_shown(word.text)} is neither a declared variable nor a finite number")

    def _limits(self, clause: Clause) -> Limits:
        limits = Limits()
        for said in clause:
            letters = {name[0] for name, _ in said.coefficients}
            if letters == {"X"} and len(said.coefficients) == 1:
                ((name, a),) = said.coefficients
                i, limit = int(name[2:]), said.limit / a + 0.0  # no -0
                side, tighter = (limits.high, min) if a > 0 else (limits.low, max)
                side[i] = tighter(side.get(i, (limit, said.at)), (limit, said.at))
            elif "X" in letters:
                raise self._wrong(said.at, "an input compared with a variable; inputs have boxes")
            else:
                limits.rows.append(said)
        return limits

    def _crossed(self, case: Case, common: Limits, own: Limits) -> CannotRun:
        """What leaves a case without an input."""
        i = int((case.low > case.high).nonzero()[0])
        places = [side[i][1] for side in (common.low, common.high, own.low, own.high) if i in side]
        return self._wrong(
            max(places),
            f"X_{i} is to be at least {float(case.low[i]):g} and at most {float(case.high[i]):g}; no input is both",
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


def _sum(values: list[float]) -> float:
    """Rounded once; not a number where it is beyond all."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


def _tightened(
    limit: Float64[Tensor, " inputs"],
    said: Mapping[int, tuple[float, int]],
    tighter: Callable[[Tensor, Tensor], Tensor],
) -> Float64[Tensor, " inputs"]:
    """The limits of all inputs with those of some; the same tensor where there are none."""
    if not said:
        return limit
    places = torch.tensor(list(said))
    values = torch.tensor([value for value, _ in said.values()], dtype=torch.float64)
    return limit.index_put((places,), tighter(limit[places], values))


def _rows(said: list[Comparison], outputs: int) -> tuple[Tensor, Tensor]:
    """(weights, offsets) of what is said about outputs."""
    weights = torch.zeros(len(said), outputs, dtype=torch.float64)
    for row, comparison in enumerate(said):
        for name, a in comparison.coefficients:
            weights[row, int(name[2:])] = a
    return weights, torch.tensor([-comparison.limit for comparison in said], dtype=torch.float64)


def _shown(word: str) -> str:
    """Foreign text in a message: short, and nothing in it acts."""
    return repr(word if len(word) <= 40 else word[:39] + "…")
