"""VNN-LIB 1.0: boxes of inputs, and conjunctions and disjunctions over outputs, in an S-expression file.

The file asserts what is unsafe. Inputs are X_0, X_1, …, outputs Y_0, Y_1, …; an assertion compares linear expressions
of them. Source: the VNN-LIB 1.0 standard, as the VNN-COMP files of 2021 to 2025 use it.
"""

import math
import os
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import final

from brinell.errors import CannotRun
from brinell.proofs.property.clauses import (
    Bound,
    Clause,
    Comparison,
    Limits,
    as_float,
    boxes_with,
    everywhere,
    output_rows,
    tightness_above,
    tightness_below,
)
from brinell.proofs.property.property import Case, Property
from brinell.proofs.property.sexpressions import Expression, Group, Word, commands, shown
from brinell.proofs.property.witness import Counterexample
from brinell.targets.reading import read_bytes, unpacked

MOST_CASES = 10_000
MOST_COMPARISONS = 10_000_000
"""In disjunctive normal form."""

MOST_CHARACTERS = 2**26

LONGEST = 2000
"""Digits of a number, and its largest exponent."""


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
    """The property of a text. name: of its source, in errors. Raises CannotRun as `read_vnnlib` does."""
    return _Reader(text, name).property()


def answer_text(verdict: str, witness: Counterexample | None) -> str:
    """The result file of VNN-COMP: the verdict, then every input and output of the witness."""
    if witness is None:
        return f"{verdict}\n"
    values = [(f"X_{i}", v) for i, v in enumerate(witness.x.tolist())]
    values += [(f"Y_{i}", v) for i, v in enumerate(witness.y.tolist())]
    return f"{verdict}\n(" + "\n".join(f"({name} {value!r})" for name, value in values) + ")\n"


_ZERO = Fraction(0)


@final
class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._declared: dict[str, int] = {}

    def property(self) -> Property:
        asserted: list[list[Clause]] = []
        for command in commands(self._text, self._wrong):
            head, _ = self._head(command)
            if head == "declare-const":
                self._declare(command)
            elif head == "assert":
                asserted.append(self._formula(self._only(command, 1)[0]))
            elif head not in ("set-logic", "set-info", "set-option", "check-sat", "exit", "get-model"):
                raise self._wrong(command.at, f"{shown(head)} is no command of VNN-LIB 1.0")
        inputs = self._count("X")
        outputs = self._count("Y")
        always, either = self._factored(asserted, len(self._text))
        common = self._limits(always)
        boxes = boxes_with(everywhere(inputs), common)

        # One case for each choice of a clause from every disjunction.
        cases = []
        empty: CannotRun | None = None
        always_crossed = common.crossed()
        for clauses in product(*either):
            own = self._limits([comparison for clause in clauses for comparison in clause])
            crossed = own.crossed(common) if always_crossed is None else always_crossed
            if crossed is not None:
                empty = empty or self._crossed(crossed, common, own)
                continue

            (low, high), *inner = boxes_with(boxes, own)
            rows = common.rows + own.rows
            weights, offsets = output_rows(rows, outputs)
            inequalities = tuple(comparison.inequality for comparison in rows)
            case = Case(low, high, weights, offsets, tuple(inner), inequalities)
            self._check_bounded(case)
            cases.append(case)
        if empty is not None and not cases:
            raise empty
        return Property(tuple(cases))

    def _declare(self, command: Group) -> None:
        name, kind = (self._word(part) for part in self._only(command, 2))
        if not re.fullmatch(r"[XY]_(0|[1-9][0-9]{0,7})", name):
            raise self._wrong(command.at, f"{shown(name)} is neither an input X_0, X_1, … nor an output Y_0, Y_1, …")
        if kind != "Real":
            raise self._wrong(command.at, f"{name} is declared as {shown(kind)}; variables are Real")
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
            below = self._comparison(left, right, strict, formula.at)
            above = self._comparison(right, left, strict, formula.at)
            return [{"<": [below], ">": [above], "=": [below, above]}[head[0]]]
        if head not in ("and", "or") or not parts:
            raise self._wrong(formula.at, f"{shown(head)} is no comparison, and no conjunction or disjunction of some")
        inner = [self._formula(part) for part in parts]
        if head == "or":
            return [clause for clauses in inner for clause in clauses]
        always, either = self._factored(inner, formula.at)
        self._check_size(either, len(always), formula.at)
        return [always + [comparison for clause in clauses for comparison in clause] for clauses in product(*either)]

    def _factored(self, inner: list[list[Clause]], at: int) -> tuple[Clause, list[list[Clause]]]:
        """Of a conjunction: (the comparisons common to all cases, its disjunctions). Refuses too many cases."""
        always = [comparison for clauses in inner if len(clauses) == 1 for comparison in clauses[0]]
        either = [clauses for clauses in inner if len(clauses) > 1]
        if math.prod(map(len, either)) > MOST_CASES:
            raise self._wrong(at, f"more than {MOST_CASES} cases once its disjunctions are multiplied out")
        self._check_size(either, sum(max(map(len, clauses)) for clauses in either), at)
        return always, either

    def _check_size(self, either: list[list[Clause]], each: int, at: int) -> None:
        """Refuse too many comparisons, `each` in a case."""
        if either and each * math.prod(map(len, either)) > MOST_COMPARISONS:
            raise self._wrong(at, f"more than {MOST_COMPARISONS} comparisons once its disjunctions are multiplied out")

    def _comparison(self, left: dict[str, Fraction], right: dict[str, Fraction], strict: bool, at: int) -> Comparison:
        """left <= right, or left < right."""
        names = [name for name in {**left, **right} if name]
        coefficients = [(name, left.get(name, _ZERO) - right.get(name, _ZERO)) for name in names]
        limit = right.get("", _ZERO) - left.get("", _ZERO)
        if not all(math.isfinite(as_float(number)) for number in (limit, *(a for _, a in coefficients))):
            raise self._wrong(at, "its numbers come to more than a float64 can hold")
        return Comparison(tuple((name, a) for name, a in coefficients if a != 0), limit, strict, at)

    def _linear(self, expression: Expression) -> dict[str, Fraction]:
        """Coefficients by the name of the variable; the constant under the empty name."""
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
                    total[name] = total.get(name, _ZERO) + sign * a
            return total
        if head == "*" and len(terms) == 2:
            for factor, other in (terms, terms[::-1]):
                if set(factor) <= {""}:
                    return self._times(factor.get("", _ZERO), other, expression.at)
            raise self._wrong(expression.at, "two variables multiplied; expressions are linear")
        raise self._wrong(expression.at, f"{shown(head)} of {len(terms)} terms is no linear expression")

    def _times(self, factor: Fraction, term: dict[str, Fraction], at: int) -> dict[str, Fraction]:
        """The product; numbers beyond all floats are refused, which keeps fractions short."""
        product_ = {name: factor * a for name, a in term.items()}
        if not all(math.isfinite(as_float(a)) for a in product_.values()):
            raise self._wrong(at, "its numbers come to more than a float64 can hold")
        return product_

    def _number(self, word: Word) -> Fraction:
        parts = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word.text, re.ASCII)
        if parts is None or not math.isfinite(float(word.text)):
            raise self._wrong(word.at, f"{shown(word.text)} is neither a declared variable nor a finite number")
        if len(word.text) > LONGEST or abs(int((parts[2] or "e0")[1:])) > LONGEST:
            raise self._wrong(word.at, f"{shown(word.text)} has more than {LONGEST} digits")
        return Fraction(word.text)

    def _limits(self, clause: Clause) -> Limits:
        limits = Limits()
        for comparison in clause:
            letters = {name[0] for name, _ in comparison.coefficients}
            if letters == {"X"} and len(comparison.coefficients) == 1:
                ((name, a),) = comparison.coefficients
                i = int(name[2:])
                bound = Bound(comparison.limit / a, comparison.strict, comparison.at)
                if a > 0:
                    limits.high[i] = min(limits.high.get(i, bound), bound, key=tightness_above)
                else:
                    limits.low[i] = max(limits.low.get(i, bound), bound, key=tightness_below)
            elif "X" in letters:
                raise self._wrong(comparison.at, "an input compared with a variable; inputs have boxes")
            else:
                limits.rows.append(comparison)
        return limits

    def _crossed(self, i: int, common: Limits, own: Limits) -> CannotRun:
        """The error of a case in which input i has no value left."""
        lows = [limits.low[i] for limits in (common, own) if i in limits.low]
        highs = [limits.high[i] for limits in (common, own) if i in limits.high]
        low = max(lows, key=tightness_below)
        high = min(highs, key=tightness_above)
        least = "more than" if low.strict else "at least"
        most = "less than" if high.strict else "at most"
        return self._wrong(
            max(bound.at for bound in (*lows, *highs)),
            f"X_{i} is to be {least} {as_float(low.limit):g} and {most} {as_float(high.limit):g}; no input is both",
        )

    def _check_bounded(self, case: Case) -> None:
        open_ = (~(case.low.isfinite() & case.high.isfinite())).nonzero().flatten().tolist()
        if open_:
            raise self._wrong(self._declared[f"X_{open_[0]}"], f"X_{open_[0]} is not bounded from below and above")

    def _head(self, expression: Expression) -> tuple[str, Sequence[Expression]]:
        """(its first word, the rest)."""
        if isinstance(expression, Word):
            raise self._wrong(expression.at, f"{shown(expression.text)} where a list in parentheses was expected")
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
