"""The ledger: the append-only store of a run. Resuming is asking it what is still open.

One SQLite file in WAL mode; tensors lie beside it as safetensors named by their content. Each shard of work is one
transaction, so a killed run loses what was in flight and nothing that was recorded. Rows are keyed by question, item,
engine, shard and kind: another question is more rows, not another store. Only the driver writes.

What was shown (`evidence`) and what it cost (`work`) are apart, so that two runs can be compared row by row.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from brinell.errors import CannotRun
from brinell.evidence import Evidence, check_evidence

SCHEMA = 2
_READERS = {1: "0.1.0"}
"""The last version that reads each older schema."""

FILE = "ledger.sqlite"
ARTIFACTS = "artifacts"

_TABLES = """
CREATE TABLE IF NOT EXISTS manifest (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (
    question TEXT NOT NULL, item INTEGER NOT NULL, engine TEXT NOT NULL, shard TEXT NOT NULL,
    kind TEXT NOT NULL, value REAL, artifact TEXT, detail TEXT,
    PRIMARY KEY (question, item, engine, shard, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS work (
    question TEXT NOT NULL, engine TEXT NOT NULL, shard TEXT NOT NULL, stage INTEGER NOT NULL,
    phase TEXT NOT NULL, asked INTEGER NOT NULL, settled INTEGER NOT NULL,
    failed INTEGER NOT NULL, forwards INTEGER NOT NULL, gradients INTEGER NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (question, engine, shard)) WITHOUT ROWID;
"""


@final
@dataclass(frozen=True)
class Work:
    """One shard of one stage, done. asked, settled, failed: items; the target raised near those that failed.

    phase: the condition under which the stage was asked, such as a radius.

    forwards, gradients: rows asked of the target. seconds: of the worker.
    """

    question: str
    engine: str
    shard: str
    stage: int
    phase: str
    asked: int
    settled: int
    failed: int
    forwards: int
    gradients: int
    seconds: float


@final
class Ledger:
    """The store of one run, in the folder `path`; opened by one writer at a time.

    Raises CannotRun where the folder cannot be written, is held by another process, or holds no ledger we can read.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        file = path / FILE
        if not write and not file.is_file():
            raise CannotRun(f"{path} is not a run: it holds no {FILE}; give a folder that `brinell audit` wrote")
        with contextlib.ExitStack() as undo:
            try:
                self._lock = undo.enter_context(contextlib.closing(_hold(path))) if write else None
                self._db = undo.enter_context(contextlib.closing(_connect(file, write)))
                schema = self.manifest().get("schema", SCHEMA)
            except (OSError, sqlite3.Error) as error:
                raise storage_error(error, path) from error
            if schema != SCHEMA:
                reader = f"Brinell {_READERS[schema]}" if schema in _READERS else "a newer Brinell"
                raise CannotRun(
                    f"{path} was written with ledger schema {schema}, which {reader} reads; this version reads {SCHEMA}"
                )
            undo.pop_all()

    def close(self) -> None:
        """Let go of the file, with everything in its one main part."""
        if self._lock is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def manifest(self, prefix: str = "") -> dict[str, Any]:
        """What the run is about: identity, sources, environment; of it what begins so. Empty where it had not begun."""
        query = "SELECT key, value FROM manifest WHERE substr(key, 1, ?) = ?"
        try:
            rows = self._db.execute(query, (len(prefix), prefix))
            return {key: json.loads(value) for key, value in rows}
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return {}
            raise

    def describe(self, entries: Mapping[str, Any]) -> None:
        """Add to the manifest or replace its entries."""
        rows = [(key, json.dumps(value)) for key, value in {"schema": SCHEMA, **entries}.items()]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO manifest VALUES (?, ?)", rows)

    def record(
        self,
        work: Work,
        evidence: Iterable[Evidence],
        tensors: Mapping[str, Tensor] = {},
    ) -> None:
        """One shard, all or nothing. tensors: what evidence that is stored refers to, row by row."""
        evidence = list(evidence)
        for e in evidence:
            check_evidence(e)
        artifact = self._store(tensors) if tensors else None
        rows = [(work.question, e.item, e.engine, work.shard, *_columns(e, artifact)) for e in evidence]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("INSERT INTO work VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(work))

    def add(
        self,
        question: str,
        shard: str,
        evidence: Iterable[Evidence],
        tensors: Mapping[str, Tensor],
        entries: Mapping[str, Any],
    ) -> None:
        """Evidence that no stage of the plan is charged for, and entries of the manifest: all or nothing."""
        evidence = list(evidence)
        for e in evidence:
            check_evidence(e)
        artifact = self._store(tensors) if tensors else None
        rows = [(question, e.item, e.engine, shard, *_columns(e, artifact)) for e in evidence]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            texts = [(key, json.dumps(value)) for key, value in entries.items()]
            self._db.executemany("INSERT OR REPLACE INTO manifest VALUES (?, ?)", texts)

    def done(self, question: str) -> set[tuple[str, str]]:
        """(engine, shard) of all work recorded for a question."""
        return set(self._db.execute("SELECT engine, shard FROM work WHERE question = ?", (question,)))

    def evidence(self, question: str, kinds: Mapping[str, type[Evidence]]) -> Iterator[Evidence]:
        """All that was shown for a question, in the order of items, engines, shards. kinds: its kinds, by name."""
        rows = self._db.execute(
            "SELECT item, engine, kind, value, artifact, detail FROM evidence WHERE question = ? "
            "ORDER BY item, engine, shard",
            (question,),
        )
        for item, engine, kind, value, artifact, detail in rows:
            yield kinds[kind].read(item, engine, value, artifact, json.loads(detail))

    def work(self, question: str) -> list[Work]:
        """All work done for a question, in the order of its plan."""
        query = "SELECT * FROM work WHERE question = ? ORDER BY stage, phase, shard"
        return [Work(*row) for row in self._db.execute(query, (question,))]

    def tensors(self, artifact: str) -> dict[str, Tensor]:
        """The tensors stored under a name that `evidence` gave. Raises CannotRun if they were changed or lost."""
        file = self.path / ARTIFACTS / f"{artifact}.safetensors"
        try:
            data = file.read_bytes()
            if hashlib.sha256(data).hexdigest()[:32] != artifact:
                raise CannotRun(f"artifact {file} is not what was recorded: its contents have another digest")
            return dict(load_file(file))
        except (OSError, SafetensorError) as error:
            raise CannotRun(f"artifact {file} cannot be read: {error}") from error

    def _store(self, tensors: Mapping[str, Tensor]) -> str:
        data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        name = hashlib.sha256(data).hexdigest()[:32]
        write_atomically(self.path / ARTIFACTS / f"{name}.safetensors", data)
        return name

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(error, (OSError, sqlite3.Error)):
                raise storage_error(error, self.path) from error
            raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none. Raises CannotRun on a full disk or an unwritable folder."""
    half = path.with_name(_half(path.name, os.getpid()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise storage_error(error, path) from error


def storage_error(error: Exception, path: Path) -> CannotRun:
    """One line for what the disk or SQLite said."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if "full" in reason or "No space left" in reason or "File too large" in reason:
        return CannotRun(f"{path} cannot be written: {reason}; free some space and run the same command to continue")
    return CannotRun(f"{path} cannot be opened or written: {reason}; choose another folder with --out")


def _columns(evidence: Evidence, artifact: str | None) -> tuple[str, float | None, str | None, str]:
    """(kind, value, artifact, detail) of a row."""
    value, detail = evidence.columns()
    return evidence.kind, value, artifact if evidence.stored else None, json.dumps(detail)


def _hold(path: Path) -> sqlite3.Connection:
    """Take the run's lock: an exclusive transaction on a file of its own, which dies with the process."""
    path.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(path / ".lock", timeout=0, isolation_level=None, check_same_thread=False)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        raise CannotRun(f"{path} is being written by another process; wait for it or choose another --out") from None
    for half in (*path.glob(_half("*", "*")), *path.glob(f"{ARTIFACTS}/{_half('*', '*')}")):
        half.unlink(missing_ok=True)  # a process died while it wrote these
    return lock


def _connect(file: Path, write: bool) -> sqlite3.Connection:
    """A connection to a ledger; what cannot be written to is read as it lies."""
    mode = "mode=rwc" if write else "mode=ro" if os.access(file.parent, os.W_OK) else "mode=ro&immutable=1"
    db = sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?{mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA busy_timeout = 5000")
    if write:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_TABLES)
    return db


def _half(name: str, process: int | str) -> str:
    return f".{name}.{process}.half"
