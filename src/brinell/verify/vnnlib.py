"""VNN-LIB 1.0: boxes of inputs, and conjunctions and disjunctions over outputs, in an S-expression file.

The file asserts what is unsafe. Inputs are X_0, X_1, …, outputs Y_0, Y_1, …; an assertion compares linear expressions
of them. Source: the VNN-LIB 1.0 standard, as the VNN-COMP files of 2021 to 2025 use it.
"""

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import final

import torch

from brinell.errors import CannotRun
from brinell.verify.property import Case, Property
from brinell.verify.witness import Witness

MOST_CASES = 10_000
MOST_CHARACTERS = 2**28
DEEPEST = 100

Atom = tuple[str, int]
"""(the word, its line)."""

Expression = Atom | list["Expression"]


def read_vnnlib(path: str | os.PathLike[str]) -> Property:
    """The property of a file, which may be gzip. Raises CannotRun with the line of what is not understood."""
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CannotRun(f"{file}: {error.strerror}; check the path and its permissions") from error
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(MOST_CHARACTERS + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise CannotRun(f"{file}: damaged gzip data; copy the file again") from error
    if len(content) > MOST_CHARACTERS:
        raise CannotRun(f"{file}: longer than {MOST_CHARACTERS >> 20} MiB; that is no property")
    try:
        return parse_vnnlib(content.decode("utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise CannotRun(f"{file}: not a text; a property is a VNN-LIB 1.0 file") from error


def parse_vnnlib(text: str, name: str = "property") -> Property:
    """The property of a text. name: how errors call it."""
    return _Reader(name).property(text)


def answer_text(verdict: str, witness: Witness | None) -> str:
    """As VNN-COMP's tools write it: the verdict, then every input and output of the witness."""
    if witness is None:
        return f"{verdict}\n"
    values = [(f"X_{i}", v) for i, v in enumerate(witness.x.tolist())]
    values += [(f"Y_{i}", v) for i, v in enumerate(witness.y.tolist())]
    return f"{verdict}\n(" + "\n".join(f"({name} {value!r})" for name, value in values) + ")\n"


@final
@dataclass(frozen=True)
class _Bound:
    """sum of coefficient * variable <= limit."""

    coefficients: tuple[tuple[str, float], ...]
    limit: float
    line: int


Clause = list[_Bound]
"""All of them hold."""


@final
class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._declared: dict[str, int] = {}

    def property(self, text: str) -> Property:
        always: Clause = []
        either: list[list[Clause]] = []
        for command in self._parse(text):
            head, line, _ = self._head(command)
            if head == "declare-const":
                self._declare(command, line)
            elif head == "assert":
                clauses = self._formula(self._only(command, 2, line)[1])
                if len(clauses) == 1:
                    always += clauses[0]
                else:
                    either.append(clauses)
            elif head not in ("set-logic", "set-info", "set-option", "check-sat", "exit", "get-model"):
                raise self._wrong(line, f"{head} is no command of VNN-LIB 1.0")
        inputs, outputs = self._count("X"), self._count("Y")
        if math.prod(map(len, either)) > MOST_CASES:
            raise self._wrong(1, f"more than {MOST_CASES} cases once its disjunctions are multiplied out")
        common = self._case(always, inputs, outputs)
        chosen = (self._case([b for clause in some for b in clause], inputs, outputs) for some in product(*either))
        cases = (
            Case(
                torch.maximum(common.low, case.low),
                torch.minimum(common.high, case.high),
                torch.cat((common.weights, case.weights)),
                torch.cat((common.offsets, case.offsets)),
            )
            for case in chosen
        )
        found = [case for case in cases if not case.empty]
        for case in found:
            self._bounded(case)
        if not found:
            raise self._wrong(1, "no input satisfies it: every one of its boxes is empty")
        return Property(tuple(found))

    def _parse(self, text: str) -> Iterator[Expression]:
        """The commands; words are kept with their lines."""
        stack: list[list[Expression]] = []
        line = 1
        for token in re.finditer(r";[^\n]*|\n|[()]|\|[^|]*\||\"[^\"]*\"|[^\s();|\"]+", text):
            word = token.group()
            if word == "\n":
                line += 1
            elif word == "(":
                stack.append([])
                if len(stack) > DEEPEST:
                    raise self._wrong(line, f"more than {DEEPEST} parentheses deep")
            elif word == ")":
                if not stack:
                    raise self._wrong(line, "a parenthesis closes that was never opened")
                whole = stack.pop()
                if stack:
                    stack[-1].append(whole)
                else:
                    yield whole
            elif word[0] != ";":
                if not stack:
                    raise self._wrong(line, f"{word[:40]!r} outside parentheses")
                stack[-1].append((word, line))
        if stack:
            raise self._wrong(line, "the file ends inside parentheses")

    def _declare(self, command: Expression, line: int) -> None:
        _, name, kind = (self._word(part, line) for part in self._only(command, 3, line))
        if not re.fullmatch(r"[XY]_(0|[1-9][0-9]{0,7})", name):
            raise self._wrong(line, f"{name[:40]} is neither an input X_0, X_1, … nor an output Y_0, Y_1, …")
        if kind != "Real":
            raise self._wrong(line, f"{name} is declared as {kind[:40]}; variables are Real")
        if name in self._declared:
            raise self._wrong(line, f"{name} is declared twice")
        self._declared[name] = line

    def _count(self, letter: str) -> int:
        names = [name for name in self._declared if name[0] == letter]
        missing = next((i for i in range(len(names)) if f"{letter}_{i}" not in self._declared), None)
        if not names or missing is not None:
            raise self._wrong(1, f"{letter}_{missing or 0} is not declared")
        return len(names)

    def _formula(self, formula: Expression) -> list[Clause]:
        """Its disjunctive normal form."""
        head, line, parts = self._head(formula)
        if head in ("<=", ">=", "<", ">"):
            if len(parts) != 2:
                raise self._wrong(line, f"{head} compares two expressions, here {len(parts)}")
            left, right = (self._linear(part, line) for part in parts)
            return [[self._bound(left, right, line) if head[0] == "<" else self._bound(right, left, line)]]
        if head == "=":
            left, right = (self._linear(part, line) for part in self._only(formula, 3, line)[1:])
            return [[self._bound(left, right, line), self._bound(right, left, line)]]
        if head not in ("and", "or") or not parts:
            raise self._wrong(line, f"{head[:40]} is no comparison, and no conjunction or disjunction of some")
        inner = [self._formula(part) for part in parts]
        if head == "or":
            return [clause for clauses in inner for clause in clauses]
        if math.prod(map(len, inner)) > MOST_CASES:
            raise self._wrong(line, f"more than {MOST_CASES} cases once its disjunctions are multiplied out")
        return reduce(lambda all_, some: [a + b for a in all_ for b in some], inner)

    def _bound(self, left: dict[str, float], right: dict[str, float], line: int) -> _Bound:
        """left <= right."""
        names = [name for name in {**left, **right} if name]
        coefficients = [(name, left.get(name, 0.0) - right.get(name, 0.0)) for name in names]
        return _Bound(
            tuple((name, a) for name, a in coefficients if a != 0), right.get("", 0.0) - left.get("", 0.0), line
        )

    def _linear(self, expression: Expression, line: int) -> dict[str, float]:
        """Coefficients by variable; the constant has no name."""
        if isinstance(expression, tuple):
            word, line = expression
            if word in self._declared:
                return {word: 1.0}
            return {"": self._number(word, line)}
        head, line, parts = self._head(expression)
        terms = [self._linear(part, line) for part in parts]
        if head in ("+", "-") and terms:
            signs = [1.0] + [1.0 if head == "+" else -1.0] * (len(terms) - 1)
            signs = [-1.0] if head == "-" and len(terms) == 1 else signs
            names = dict.fromkeys(name for term in terms for name in term)
            return {
                name: math.fsum(sign * term.get(name, 0.0) for sign, term in zip(signs, terms, strict=True))
                for name in names
            }
        if head == "*" and len(terms) == 2:
            for factor, other in (terms, terms[::-1]):
                if set(factor) <= {""}:
                    return {name: factor.get("", 0.0) * a for name, a in other.items()}
            raise self._wrong(line, "two variables multiplied; expressions are linear")
        raise self._wrong(line, f"{head[:40]} of {len(terms)} terms is no linear expression")

    def _number(self, word: str, line: int) -> float:
        if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word) and math.isfinite(float(word)):
            return float(word)
        raise self._wrong(line, f"{word[:40]!r} is neither a declared variable nor a finite number")

    def _case(self, clause: Clause, inputs: int, outputs: int) -> Case:
        low = torch.full((inputs,), -torch.inf, dtype=torch.float64)
        high = torch.full((inputs,), torch.inf, dtype=torch.float64)
        rows: list[tuple[tuple[tuple[str, float], ...], float]] = []
        for bound in clause:
            letters = {name[0] for name, _ in bound.coefficients}
            if letters == {"X"} and len(bound.coefficients) == 1:
                ((name, a),) = bound.coefficients
                i, limit = int(name[2:]), bound.limit / a
                if a > 0:
                    high[i] = min(float(high[i]), limit)
                else:
                    low[i] = max(float(low[i]), limit)
            elif "X" in letters:
                raise self._wrong(bound.line, "an input compared with a variable; inputs have boxes")
            else:
                rows.append((bound.coefficients, bound.limit))
        weights = torch.zeros(len(rows), outputs, dtype=torch.float64)
        for row, (coefficients, _) in enumerate(rows):
            for name, a in coefficients:
                weights[row, int(name[2:])] = a
        return Case(low, high, weights, torch.tensor([-limit for _, limit in rows], dtype=torch.float64))

    def _bounded(self, case: Case) -> None:
        open_ = (~(case.low.isfinite() & case.high.isfinite())).nonzero().flatten().tolist()
        if open_:
            raise self._wrong(self._declared[f"X_{open_[0]}"], f"X_{open_[0]} is not bounded from below and above")

    def _head(self, expression: Expression) -> tuple[str, int, list[Expression]]:
        """(its first word, the line, the rest)."""
        if isinstance(expression, tuple):
            raise self._wrong(expression[1], f"{expression[0][:40]!r} where a list in parentheses was expected")
        if not expression or not isinstance(expression[0], tuple):
            raise self._wrong(_line(expression), "a list that does not begin with a word")
        return *expression[0], expression[1:]

    def _word(self, expression: Expression, line: int) -> str:
        if not isinstance(expression, tuple):
            raise self._wrong(line, "a list where a word was expected")
        return expression[0]

    def _only(self, expression: Expression, count: int, line: int) -> Sequence[Expression]:
        if len(expression) != count or isinstance(expression, tuple):
            raise self._wrong(
                line, f"{self._head(expression)[0]} has {len(expression) - 1} arguments; it takes {count - 1}"
            )
        return expression

    def _wrong(self, line: int, what: str) -> CannotRun:
        return CannotRun(f"{self._name}, line {line}: {what}")


def _line(expression: Expression) -> int:
    """The line of the first word in it."""
    while isinstance(expression, list):
        if not expression:
            return 1
        expression = expression[0]
    return expression[1]
