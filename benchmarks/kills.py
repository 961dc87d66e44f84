"""Thirty kills at random moments of one audit, each followed by the same command; then the tables are compared."""

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.figure import Figure
from brinell.auditing.ledger import FILE

KILLS, EXAMPLES, WORKERS = 30, 2000, 2

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
"""


def run() -> list[Figure]:
    """Whole processes and `kill -9`. What a kill repeats is at most what the workers have in hand, a shard each."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        _write(here)
        _start(here, "whole").wait()
        shards = sorted(_seconds(here / "whole"))
        total, most = sum(shards), sum(shards[-WORKERS:])
        chance, lost = random.Random(0), []
        while len(lost) < KILLS:
            process = _start(here, "killed")
            recorded = len(_seconds(here / "killed"))
            while process.poll() is None and len(_seconds(here / "killed")) == recorded:
                time.sleep(0.02)  # until this life has something to lose
            time.sleep(chance.uniform(0, 0.9 * total / WORKERS / KILLS))
            process.kill()
            killed = time.time()
            if process.wait() == 0:
                break
            lost.append(WORKERS * max(0.0, killed - (here / "killed" / f"{FILE}-wal").stat().st_mtime))
        _start(here, "killed").wait()
        whole, killed_rows = _rows(here / "whole"), _rows(here / "killed")
    return [
        Figure(
            f"evidence and items of a {EXAMPLES:,}-example audit killed {len(lost)} times, against one that was not",
            "bit-identical",
            f"bit-identical, {len(whole):,} rows"
            if whole == killed_rows
            else f"{len(set(whole) ^ set(killed_rows))} rows differ",
        ),
        Figure(
            f"work repeated after a kill, of {total:.0f} s in all: estimated mean (every worker, since the last "
            f"record), and the most there can be (the {WORKERS} longest of {len(shards)} shards)",
            "<= 2 %",
            f"{100 * sum(lost) / len(lost) / total:.2f} %, {100 * most / total:.2f} %",
        ),
    ]


def _write(here: Path) -> None:
    """A network, and examples that it labels itself."""
    (here / "net.py").write_text(MODEL)
    scope: dict[str, object] = {}
    exec(MODEL, scope)
    net = scope["build"]()  # type: ignore[operator]
    x = torch.rand(EXAMPLES, 64, generator=torch.Generator().manual_seed(1))
    np.savez(here / "data.npz", x=x.numpy(), y=net(x).argmax(1).numpy())


def _start(here: Path, name: str) -> "subprocess.Popen[bytes]":
    brinell = Path(sys.executable).with_name("brinell")
    command = [
        brinell,
        "audit",
        "net.py:build",
        "data.npz",
        "--set",
        "linf:0.001,0.002,0.004",
        "--workers",
        str(WORKERS),
    ]
    return subprocess.Popen([*command, "--out", name], cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _seconds(path: Path) -> list[float]:
    return [seconds for (seconds,) in _query(path, "SELECT seconds FROM work")]


def _rows(path: Path) -> list[tuple[object, ...]]:
    evidence = "SELECT * FROM evidence ORDER BY question, item, engine, shard"
    return _query(path, evidence) + _query(path, "SELECT * FROM item ORDER BY item")


def _query(path: Path, query: str) -> list[tuple[object, ...]]:
    if not (path / FILE).exists():
        return []
    db = sqlite3.connect(f"file:{path / FILE}?mode=ro", uri=True, timeout=10)
    try:
        return db.execute(query).fetchall()
    except sqlite3.OperationalError:  # the tables are not there yet
        return []
    finally:
        db.close()
