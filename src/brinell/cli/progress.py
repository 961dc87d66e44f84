"""Progress on stderr: what is being tried, how far the run is, when it will be done."""

from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from brinell.auditing import Progress as Step


@final
class Bar:
    """A bar while stderr is a terminal; elsewhere lines, so that a log tells the story too."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, note="")
        self._told = ""

    def __enter__(self) -> "Bar":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def step(self, step: Step) -> None:
        """Where an audit stands; a log gets one line a stage."""
        name = f"{step.stage.label} at {step.at}" if step.at else step.stage.label
        self._show(name, step.done, step.total, f"{step.open} open")
        if name != self._told:
            self._tell(f"{step.elapsed:7.1f}s  {name}, {step.open} open")
        self._told = name

    def batch(self, name: str, broken: int, done: int, total: int) -> None:
        """How far one attack has come; a log gets a line for each."""
        self._show(name, done, total, f"{broken} broken")
        self._tell(f"{name}: {broken} of {done} broken, {total - done} to go")

    def _show(self, name: str, done: int, total: int, note: str) -> None:
        self._bar.update(self._task, description=name, completed=done, total=total, note=note)

    def _tell(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line)
