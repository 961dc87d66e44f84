"""VNN-COMP instances: what is decided of them in the official time, beside what was published.

Every verdict is kept in .cache/vnncomp.json as soon as it is there; run again, it goes on with what is missing. At the
end a table is printed beside the published results.
BRINELL_VNNCOMP="acasxu,mnist_fc 256x2" runs those categories only.
"""

import csv
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import CACHE, SHARED, Figure, Skipped

FOLDER = SHARED / "data" / "vnncomp"
CPU_TOOLS = ("nnenum", "marabou", "pyrat", "neuralsat", "mn_bab", "nnv", "cora", "never2", "ERAN", "VeriNet")
TOOLS = ("alpha_beta_crown", *CPU_TOOLS)
ASKED = {
    "acasxu": "89 of 89, median under 2 s",
    "rl_benchmarks": "20 of 20",
    "reach_prob_density": "6 of 6",
    "mnist_fc 256x2": "16 of 16",
    "mnist_fc 256x4": ">= 12",
    "mnist_fc 256x6": ">= 10",
    "oval21": ">= 7",
    "sri_resnet_a": ">= 4",
}


def run() -> list[Figure]:
    """A figure for each category: decided, wrong, seconds with the loading of the files, beside the published tools."""
    if not FOLDER.is_dir():
        raise Skipped(f"{FOLDER} is missing; set BRINELL_SHARED to the shared folder")
    with (FOLDER / "expected.csv").open() as f:
        instances = list(csv.DictReader(f))
    kept = CACHE / "vnncomp.json"
    answers = json.loads(kept.read_text()) if kept.exists() else {}
    chosen = os.environ.get("BRINELL_VNNCOMP", "").split(",")
    figures, table = [], list[str]()
    for category, asked in ASKED.items():
        rows = [row for row in instances if _category(row) == category]
        if chosen == [""] or {category, category.partition(" ")[0]} & set(chosen):
            for row in rows:
                if _key(row) not in answers:
                    answers[_key(row)] = _decide(row)
                    CACHE.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(answers, indent=0))
                    print(f"{_key(row)}: {row['verdict']}, found {answers[_key(row)]}", flush=True)
        done = [row for row in rows if _key(row) in answers]
        if done:
            figures.append(_figure(category, asked, done, answers))
            table.append(_beside(category, done, answers))
    print("| category | instances | Brinell | " + " | ".join(TOOLS) + " |")
    print("| --- " * (3 + len(TOOLS)) + "|", *table, sep="\n")
    return figures


def _decide(row: dict[str, str]) -> tuple[str, float, float]:
    """(verdict, seconds, seconds of the processor), the files read from disk."""
    from brinell.proofs import decide, deployed, read_vnnlib

    start, busy = time.perf_counter(), time.process_time()
    goal, model = read_vnnlib(FOLDER / row["vnnlib"]), deployed(FOLDER / row["onnx"])
    left = float(row["timeout_s"]) - (time.perf_counter() - start)
    answer = decide(model.graph, goal, model, timeout=left, precision=model.precision)
    return answer.verdict, round(time.perf_counter() - start, 3), round(time.process_time() - busy, 3)


def _beside(category: str, rows: list[dict[str, str]], answers: dict[str, tuple[str, float, float]]) -> str:
    """A line of the table: decided by each tool in the last year it took part, with the median of its seconds."""
    cells = [_cell([answers[_key(row)] for row in rows])]
    for tool in TOOLS:
        runs = [row[f"{tool}_year:result:seconds"].split(";")[-1].split(":") for row in rows]
        cells.append(_cell([(run[1], float(run[2])) for run in runs if len(run) == 3]))
    return f"| {category} | {len(rows)} | " + " | ".join(cells) + " |"


def _cell(runs: Sequence[tuple[str, float] | tuple[str, float, float]]) -> str:
    seconds = [run[1] for run in runs if run[0] in ("sat", "unsat")]
    if not runs:
        return "–"
    return f"{len(seconds)} ({statistics.median(seconds):.1f} s)" if seconds else "0"


def _figure(
    category: str, asked: str, rows: list[dict[str, str]], answers: dict[str, tuple[str, float, float]]
) -> Figure:
    ours = {_key(row): answers[_key(row)] for row in rows}
    decided = [row for row in rows if ours[_key(row)][0] in ("sat", "unsat")]
    known = [row for row in decided if row["verdict"] in ("sat", "unsat")]
    wrong = sum(ours[_key(row)][0] != row["verdict"] for row in known)
    seconds = [ours[_key(row)][1] for row in decided]
    busy = sum(ours[_key(row)][2] for row in rows)
    published = {tool: sum(_last(row, tool) in ("sat", "unsat") for row in rows) for tool in CPU_TOOLS}
    best = max(published, key=lambda tool: published[tool])
    return Figure(
        f"VNN-COMP {category}: decided of {len(rows)} within their {rows[0]['timeout_s']} s each",
        asked,
        f"{len(decided)} decided, {wrong} wrong, median {statistics.median(seconds or [0]):.2f} s, "
        f"slowest {max(seconds, default=0):.1f} s ({busy:.0f} s of the processor in all); "
        f"published: alpha-beta-CROWN {sum(_last(row, 'alpha_beta_crown') in ('sat', 'unsat') for row in rows)}, "
        f"next {best} {published[best]}",
    )


def _last(row: dict[str, str], tool: str) -> str:
    """A tool's verdict in the last year it took part."""
    runs = row[f"{tool}_year:result:seconds"].split(";")
    return runs[-1].split(":")[1] if runs[-1] else ""


def _category(row: dict[str, str]) -> str:
    size = Path(row["onnx"]).name.removeprefix("mnist-net_").partition(".")[0]
    return f"mnist_fc {size}" if row["benchmark"] == "mnist_fc" else row["benchmark"]


def _key(row: dict[str, str]) -> str:
    return f"{row['onnx']} {row['vnnlib']}"
