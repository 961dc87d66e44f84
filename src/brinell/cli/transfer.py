"""`brinell transfer`: several models, one set of examples, and who fools whom."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from brinell.cli.sources import Sources, absolute
from brinell.errors import CannotRun, UsageError, did_you_mean
from brinell.evasion.transfer import Matrix, matrix
from brinell.evidence import Share
from brinell.report.heat import heat_map, picture
from brinell.report.words import line
from brinell.targets import Target, TargetError
from brinell.threat import Threat


class Count(BaseModel):
    """count of `of`, with the rate (null of none) and its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    of: int
    rate: float | None
    interval: tuple[float, float]

    @classmethod
    def told(cls, share: Share) -> "Count":
        """The same as data."""
        return cls(count=share.count, of=share.of, rate=share.rate if share.of else None, interval=share.interval)


class Model(BaseModel):
    """One model. right: of the examples as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: str
    access: str
    right: Count


class TransferCell(BaseModel):
    """What the examples crafted on one model do to another. fooled: of those that the other has right as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    fooled: Count


class Transferred(BaseModel):
    """Who fools whom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threat: str
    n: int = Field(description="examples")
    seed: int
    models: tuple[Model, ...]
    cells: tuple[TransferCell, ...]


def named(things: Sequence[str]) -> dict[str, str]:
    """Models by the names they go by: `name=MODEL`, or the stem of its file."""
    models: dict[str, str] = {}
    for thing in things:
        name, equals, model = thing.partition("=")
        if not equals:
            name, model = Path(thing.rpartition(":")[0] or thing).stem, thing
        if not name or not model:
            raise UsageError(f"the model {thing!r} is not understood; write MODEL, or NAME=MODEL")
        if name in models:
            raise UsageError(f"two models are called {name!r}; give them names: before={model} after={model}")
        models[name] = model
    if len(models) < 2:
        raise UsageError(f"{len(models)} model given; name at least 2, and the data after them")
    return models


def weights_of(models: dict[str, str], texts: Sequence[str]) -> dict[str, str]:
    """`--weights NAME=FILE`, by name."""
    weights = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or name not in models:
            known = f"{', '.join(models)}{did_you_mean(name, models)}"
            raise UsageError(f"--weights {text!r} is not understood; write NAME=FILE with a name of {known}")
        weights[name] = absolute(file)
    return weights


def transfer(
    models: dict[str, str], weights: dict[str, str], common: Sources, picture_path: Path | None
) -> Transferred:
    """Load, craft, show, count. common: what all models share; its own model is not looked at."""
    set_of, radii = common.sets()
    if len(radii) > 1 or radii[0] == float("inf"):
        raise UsageError(f"--set {common.set!r} must have one finite radius here, the same for all models")
    loaded = {
        name: common.model_copy(update={"model": absolute(model), "weights": weights.get(name)}).load()
        for name, model in models.items()
    }
    targets = {name: target for name, (_, target) in loaded.items()}
    (first, (examples, _)), *others = loaded.items()
    for name, (sample, _) in others:
        if not sample.y.equal(examples.y):
            raise UsageError(f"{name} orders its classes otherwise than {first}; they cannot be compared")
    told = Console(stderr=True, markup=False, highlight=False)
    try:
        made = matrix(
            targets,
            examples.x,
            examples.y,
            Threat(set_of, common.goals()),
            seed=common.seed,
            on_source=lambda name: told.print(f"crafting {len(examples)} examples on {name}", soft_wrap=True),
        )
    except TargetError as error:
        raise CannotRun(f"a model raises: {error}; see which examples it is with brinell check") from error
    if picture_path is not None:
        from brinell.auditing.ledger import write_atomically

        shares = [[made.cell(source, name).fooled.rate for name in made.names] for source in made.names]
        chart = heat_map(made.names, made.names, shares, "shown to", "crafted on")
        write_atomically(picture_path, picture(chart, picture_path))
    return _figures(made, targets, models, common, f"{set_of.name} {common.labels()[radii[0]]}", len(examples))


def _figures(
    made: Matrix, targets: dict[str, Target], models: dict[str, str], common: Sources, set_of: str, n: int
) -> Transferred:
    return Transferred(
        threat=f"{set_of}, {common.goals().label}",
        n=n,
        seed=common.seed,
        models=tuple(
            Model(name=name, model=models[name], access=targets[name].access.name.lower(), right=Count.told(right))
            for name, right in zip(made.names, made.right, strict=True)
        ),
        cells=tuple(
            TransferCell(source=cell.source, target=cell.target, fooled=Count.told(cell.fooled)) for cell in made.cells
        ),
    )


def transfer_table(figures: Transferred) -> RenderableType:
    """A row a source, a column a target."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("crafted on", overflow="fold")
    for model in figures.models:
        table.add_column(Text(line(model.name)), justify="right", overflow="fold")
    cells = [cell.fooled for cell in figures.cells]
    for row, model in enumerate(figures.models):
        own = cells[row * len(figures.models) : (row + 1) * len(figures.models)]
        table.add_row(Text(line(model.name)), *map(_cell, own))
    table.add_section()
    table.add_row("right as they are", *(f"{m.right.count} of {m.right.of}" for m in figures.models))
    table.add_row("access", *(m.access for m in figures.models))
    return Group(
        f"{figures.threat}: per cent of what a column had right that a row's examples take away (95 % interval)",
        table,
    )


def _cell(fooled: Count) -> str:
    if fooled.rate is None:
        return "n/a"
    low, high = fooled.interval
    return f"{100 * fooled.rate:.1f} ({100 * low:.0f}–{100 * high:.0f})"
