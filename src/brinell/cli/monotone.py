"""Whether a class gains where a feature rises, asked of a model and a table."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch
import typer
from torch import Tensor

from brinell.cli.sources import Sources
from brinell.data import Dataset
from brinell.errors import UsageError, did_you_mean
from brinell.proofs import Monotonicity, forest_of, margins, monotone, monotone_trees, trace
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.threat import Access, Linf, Threat

_CODES = {"proved": 0, "refuted": 1, "unknown": 4, "timeout": 4}


def decide(sources: Sources, asked: list[str], timeout: float, as_json: bool) -> NoReturn:
    """Print an answer to each question, and leave with an exit code: 1 if any is refuted, 4 if any is open."""
    data, target = sources.load()
    check_examples(target, data.x, data.y, Threat(Linf(0.0)))
    classes = target.scores(data.x[:1]).shape[1]
    questions = [_read(text, data, classes) for text in asked]
    limits = target.box.limits(data.x[:1].double())
    low, high = (limit.expand_as(data.x[:1]).flatten() for limit in limits)
    ask = _asking(target, data, low, high, timeout, sources.seed)
    found = []
    for text, (feature, rising, label) in zip(asked, questions, strict=True):
        answer = ask(feature, margins(torch.tensor([label]), classes)[0] * (1 if rising else -1))
        found.append(_record(text, answer, data))
        if not as_json:
            typer.echo(_told(found[-1], feature))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    codes = {_CODES[record["verdict"]] for record in found}
    raise typer.Exit(next((code for code in (1, 4) if code in codes), 0))


def _asking(
    target: Target, data: Dataset, low: Tensor, high: Tensor, timeout: float, seed: int
) -> Callable[[int, Tensor], Monotonicity]:
    """What decides about a feature and rows of scores: of a network, or of trees."""

    def run(dtype: torch.dtype, rows: Tensor) -> Tensor:
        return target.scores(rows.reshape(len(rows), *data.x.shape[1:]).to(dtype)).cpu().double()

    if target.access < Access.WEIGHTS:
        forest, dtype = forest_of(target), data.x.dtype
        return lambda feature, rows: monotone_trees(
            forest, low, high, feature, rows, timeout=timeout, run=partial(run, dtype), precision=dtype
        )
    example = target.seen(data.x[:1])
    graph, dtype = trace(target.module(), example, target.box), example.dtype
    return lambda feature, rows: monotone(
        graph, low, high, feature, rows, timeout=timeout, run=partial(run, dtype), precision=dtype, seed=seed
    )


def _read(text: str, data: Dataset, classes: int) -> tuple[int, bool, int]:
    """(the feature, whether it is to help the class, the class)."""
    parts = re.fullmatch(r"(.+):([+-])(\d*)", text)
    if parts is None:
        raise UsageError(f"--feature {text!r} is not understood; write e.g. age:+ or, of class 2, age:-2")
    name, sign, label = parts.groups()
    names = data.features or tuple(map(str, range(data.x[0].numel())))
    if name not in names:
        known = f"there are {', '.join(names[:20])}{did_you_mean(name, names)}"
        raise UsageError(f"--feature {text!r}: there is no feature {name!r}; {known}")
    if not label and classes != 2:
        raise UsageError(f"--feature {text!r}: the model has {classes} classes; name one of them, e.g. {text}0")
    if label and int(label) >= classes:
        raise UsageError(f"--feature {text!r}: the classes are 0 to {classes - 1}")
    return names.index(name), sign == "+", int(label or 1)


def _record(text: str, answer: Monotonicity, data: Dataset) -> dict[str, Any]:
    names = data.features or tuple(map(str, range(data.x[0].numel())))
    pair = None
    if answer.pair is not None:
        inputs = [dict(zip(names, x, strict=True)) for x in answer.pair.x.tolist()]
        pair = [{"x": x, "scores": y} for x, y in zip(inputs, answer.pair.y.tolist(), strict=True)]
    slope = answer.slope if answer.verdict != "refuted" and abs(answer.slope) < torch.inf else None
    return {"asked": text, "verdict": answer.verdict, "slope": slope, "seconds": answer.seconds, "pair": pair}


def _told(record: dict[str, Any], feature: int) -> str:
    """One line, and the pair below it."""
    lines = [f"{record['asked']} {record['verdict']}"]
    if record["pair"] is not None:
        before, after = record["pair"]
        name = list(before["x"])[feature]
        others = ", ".join(f"{other}={value:g}" for other, value in before["x"].items() if other != name)
        lines.append(f"  {name} from {before['x'][name]!r} to {after['x'][name]!r}, with {others}")
        lines.append(f"  scores from {_shown(before['scores'])} to {_shown(after['scores'])}")
    elif record["verdict"] != "proved" and record["slope"] is not None:
        lines.append(f"  a unit lowers the margin by {-record['slope']:g} at most")
    return "\n".join(lines)


def _shown(scores: list[float]) -> str:
    return "(" + ", ".join(f"{score:.6g}" for score in scores) + ")"
