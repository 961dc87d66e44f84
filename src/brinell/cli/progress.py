"""Progress on stderr: what is being tried, how far the run is, when it will be done."""

from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from brinell.auditing import Progress as Step


@final
class Bar:
    """A bar while stderr is a terminal; elsewhere one line a stage, so that a log tells the story too."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[open]} open"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, open="")
        self._told = ""

    def __enter__(self) -> "Bar":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def update(self, step: Step) -> None:
        """Show where the run stands."""
        name = f"{step.stage.label} at {'any radius' if step.radius == float('inf') else f'{step.radius:g}'}"
        self._bar.update(self._task, description=name, completed=step.done, total=step.total, open=step.open)
        if name != self._told and not self._console.is_terminal:
            self._console.print(f"{step.elapsed:7.1f}s  {name}, {step.open} open")
        self._told = name


@final
class Counter:
    """How far one attack has come: a bar while stderr is a terminal, elsewhere one line a batch."""

    def __init__(self, name: str, total: int) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[broken]} broken"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._name, self._total = name, total
        self._task = self._bar.add_task(name, total=total, broken=0)

    def __enter__(self) -> "Counter":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def update(self, broken: int, done: int) -> None:
        """Show how many of those done are broken."""
        self._bar.update(self._task, completed=done, broken=broken)
        if not self._console.is_terminal:
            self._console.print(f"{self._name}: {broken} of {done} broken, {self._total - done} to go")
