"""Many properties, as VNN-COMP runs them: a file of lines ONNX,VNNLIB,SECONDS, and a table of results that grows.

An answer on record is not sought again, so that a command that was stopped goes on where it was; a line that could not
be answered is tried anew. Files are beside the file of instances; a name without .gz may stand for the one with it.
"""

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NoReturn, final

import typer

from brinell.cli.leave import INTERNAL, INTERRUPTED, fail, unforeseen
from brinell.cli.properties import answered
from brinell.cli.runs import check_place
from brinell.errors import BrinellError, CannotRun, UsageError
from brinell.evidence import Soundness
from brinell.proofs import Decision, SearchProgress
from brinell.proofs.property.vnnlib import answer_text

_CODES = {"unsat": 0, "sat": 1, "unknown": 4, "timeout": 4, "error": 3, "internal": INTERNAL}

_WORST = (INTERNAL, 3, 1, 4, 0)
"""Exit codes of a batch: the first of them that an instance has."""


@final
@dataclass(frozen=True)
class Instance:
    """One line. seconds: to decide it in; NaN where the line cannot be read, and `wrong` says why."""

    line: int
    network: str
    property_: str
    seconds: float
    wrong: str = ""


@final
@dataclass(frozen=True)
class InstanceResult:
    """One line of results. message: the witness's file of a sat, or what is wrong of an error."""

    onnx: str
    vnnlib: str
    timeout: str
    soundness: str
    result: str
    seconds: str
    message: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two results answers to the same question."""
        return (self.onnx, self.vnnlib, self.timeout, self.soundness)


def decide_all(
    file: Path, timeout: float | None, out: Path, seed: int, soundness: str | None, as_json: bool
) -> NoReturn:
    """Decide every line, print a line for each, and leave with the worst of their exit codes.

    timeout: in place of each line's own. Ctrl-C keeps the results there are.
    """
    level = Soundness.of(soundness or Soundness.REAL)
    instances = list(_read(file, timeout))
    check_place(out, "--out")
    known = _known(out)
    results: list[InstanceResult] = []
    try:
        for number, instance in enumerate(instances, 1):
            found = known.get((*_key(instance), level.value))
            if found is None:
                found = _decide(file.parent, instance, out, seed, level)
                _append(out, found)
            results.append(found)
            _tell(found, number, len(instances), as_json)
    except KeyboardInterrupt:
        told = f"{len(results)} of {len(instances)} instances are decided in {out}"
        fail(f"interrupted; {told}; the same command goes on", INTERRUPTED)

    _sum_up(results, out)
    codes = {_CODES.get(found.result, 3) for found in results}
    raise typer.Exit(next(code for code in _WORST if code in codes))


def _read(file: Path, timeout: float | None) -> Iterator[Instance]:
    """The lines of a file; one that cannot be understood is an instance with what is wrong."""
    try:
        lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise CannotRun(f"{file} is not a table: {error}") from None
    if not any(lines):
        raise UsageError(f"{file} has no line; write ONNX,VNNLIB,SECONDS a line")
    for number, parts in enumerate(lines, 1):
        if parts:
            yield _instance(number, [part.strip() for part in parts], timeout)


def _instance(line: int, parts: Sequence[str], timeout: float | None) -> Instance:
    network, property_, limit = (*parts[:3], "", "", "")[:3]
    if len(parts) not in (2, 3) or not network or not property_ or (len(parts) == 2 and timeout is None):
        said = ",".join(parts)
        return Instance(line, network, property_, float("nan"), f"line {line}: {said!r} is not ONNX,VNNLIB,SECONDS")
    try:
        seconds = float(limit) if timeout is None else timeout
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        return Instance(line, network, property_, float("nan"), f"line {line}: {limit!r} is not a number of seconds")
    return Instance(line, network, property_, seconds)


def _decide(folder: Path, instance: Instance, out: Path, seed: int, level: Soundness) -> InstanceResult:
    """The answer to one instance; whatever goes wrong with it is an error of this line alone."""
    start = time.monotonic()

    def outcome(result: str, message: str = "") -> InstanceResult:
        spent = f"{time.monotonic() - start:.3f}"
        return InstanceResult(*_key(instance), level.value, result, spent, " ".join(message.split()))

    if instance.wrong:
        return outcome("error", instance.wrong)
    try:
        network, property_ = (_found(folder / name) for name in (instance.network, instance.property_))
        answer = answered(network, property_, instance.seconds, seed, SearchProgress(), level)
    except (BrinellError, OSError) as error:
        return outcome("error", str(error))
    except Exception as error:  # noqa: BLE001 - one instance must not end the others
        return outcome("internal", unforeseen(error))
    if answer.witness is None:
        return outcome(answer.verdict)
    return outcome(answer.verdict, str(_keep(answer, out, instance.line)))


def _keep(answer: Decision, out: Path, line: int) -> Path:
    """The witness of a sat in a file beside the results, named by its line."""
    kept = out.with_name(f"{out.stem}-witnesses") / f"{line}.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(answer_text(answer.verdict, answer.witness), encoding="utf-8")
    return kept


def _found(path: Path) -> Path:
    """The file, or the compressed one in its place."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if not path.exists() and packed.exists() else path


def _key(instance: Instance) -> tuple[str, str, str]:
    limit = "" if instance.wrong else f"{instance.seconds:g}"
    return (instance.network, instance.property_, limit)


def _known(out: Path) -> dict[tuple[str, ...], InstanceResult]:
    """The answers on record. A line that was cut short, or that is an error, is none."""
    if not out.exists():
        return {}
    heads = [field.name for field in fields(InstanceResult)]
    lines = [next(csv.reader([line]), []) for line in out.read_text(encoding="utf-8", errors="replace").splitlines()]
    if lines and lines[0] != heads:
        raise UsageError(f"--out {str(out)!r} holds something else than results; name a new file")
    found = [InstanceResult(*line) for line in lines[1:] if len(line) == len(heads)]
    return {one.key: one for one in found if one.result in ("sat", "unsat", "unknown", "timeout")}


def _append(out: Path, found: InstanceResult) -> None:
    """One line more, on disk before the next instance begins."""
    before = out.read_bytes() if out.exists() else b""
    with out.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not before:
            writer.writerow(field.name for field in fields(InstanceResult))
        elif not before.endswith(b"\n"):  # a line that was cut short
            stream.write("\n")
        writer.writerow(asdict(found).values())


def _tell(found: InstanceResult, number: int, total: int, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        message = f"  {found.message}" if found.message else ""
        typer.echo(f"{number}/{total} {found.onnx} {found.vnnlib} {found.result} {found.seconds} s{message}")


def _sum_up(results: Sequence[InstanceResult], out: Path) -> None:
    verdicts = [found.result for found in results]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in _CODES if verdict in verdicts)
    typer.echo(f"{counts}; results: {out}", err=True)
