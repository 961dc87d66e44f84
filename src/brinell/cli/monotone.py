"""Whether a class gains where a feature rises, asked of a model and a table."""

import json
import re
from typing import Any, NoReturn

import torch
import typer
from torch import Tensor

from brinell.cli.sources import Sources
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.threat import Linf, Threat
from brinell.verify import Monotony, margins, monotone, trace

_CODES = {"proved": 0, "refuted": 1, "unknown": 4, "timeout": 4}


def decide(sources: Sources, asked: list[str], timeout: float, as_json: bool) -> NoReturn:
    """Print an answer to each question, and leave with an exit code: 1 if any is refuted, 4 if any is open."""
    data, target = sources.load()
    check_examples(target, data.x, data.y, Threat(Linf(0.0)))
    questions = [_read(text, data, target) for text in asked]
    module = target.module()
    floats = [p.dtype for p in (*module.parameters(), *module.buffers()) if p.is_floating_point()]
    like = data.x[:1].to(floats[0] if floats else data.x.dtype)  # in which it is asked, whatever holds the table
    graph, limits = trace(module, like), target.box.limits(data.x[:1].double())
    low, high = (limit.expand_as(data.x[:1]).flatten() for limit in limits)

    def run(rows: Tensor) -> Tensor:
        return target.scores(rows.reshape(len(rows), *data.x.shape[1:]).to(like.dtype)).cpu().double()

    found = []
    for text, (feature, rising, label) in zip(asked, questions, strict=True):
        ahead = margins(torch.tensor([label]), graph.classes)[0] * (1 if rising else -1)
        answer = monotone(
            graph, low, high, feature, ahead, timeout=timeout, run=run, precision=like.dtype, seed=sources.seed
        )
        found.append(_record(text, answer, data))
        if not as_json:
            typer.echo(_told(found[-1], feature))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    codes = {_CODES[record["verdict"]] for record in found}
    raise typer.Exit(next((code for code in (1, 4) if code in codes), 0))


def _read(text: str, data: Dataset, target: Target) -> tuple[int, bool, int]:
    """(the feature, whether it is to help the class, the class)."""
    parts = re.fullmatch(r"(.+):([+-])(\d*)", text)
    if parts is None:
        raise UsageError(f"--monotone {text!r} is not understood; write e.g. age:+ or, of class 2, age:-2")
    name, sign, label = parts.groups()
    names = data.features or tuple(map(str, range(data.x[0].numel())))
    if name not in names:
        raise UsageError(f"--monotone {text!r}: there is no feature {name!r}; there are {', '.join(names[:20])}")
    classes = target.scores(data.x[:1]).shape[1]
    if not label and classes != 2:
        raise UsageError(f"--monotone {text!r}: the model has {classes} classes; name one of them, e.g. {text}0")
    if label and int(label) >= classes:
        raise UsageError(f"--monotone {text!r}: the classes are 0 to {classes - 1}")
    return names.index(name), sign == "+", int(label or 1)


def _record(text: str, answer: Monotony, data: Dataset) -> dict[str, Any]:
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
        lines.append(f"  {name} from {before['x'][name]:g} to {after['x'][name]:g}, with {others}")
        lines.append(f"  scores from {_shown(before['scores'])} to {_shown(after['scores'])}")
    elif record["verdict"] != "proved" and record["slope"] is not None:
        lines.append(f"  a unit lowers the margin by {-record['slope']:g} at most")
    return "\n".join(lines)


def _shown(scores: list[float]) -> str:
    return "(" + ", ".join(f"{score:.6g}" for score in scores) + ")"
