"""Run benchmarks by name (all of them without one), and write what they measured to RESULTS.md."""

import argparse
import json
import platform
from dataclasses import asdict
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.figure import Figure, Skipped

HERE = Path(__file__).parent
NAMES = (
    "startup",
    "pgd",
    "lines_met",
    "overhead",
    "autoattack",
    "standard",
    "edge",
    "score",
    "decision",
    "minimal",
    "provable",
    "bracket",
    "trees",
    "vnncomp",
    "lirpa",
    "soundness",
    "fuzz_graphs",
    "certificates",
    "kills",
    "page",
    "physical",
    "beyond",
    "photographs",
    "transfer",
    "transferable",
    "universal",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default all")
    for name in parser.parse_args().names or NAMES:
        print(f"== {name}")
        try:
            figures = import_module(f"benchmarks.{name}").run()
        except Skipped as reason:
            print(f"skipped: {reason}")
            continue
        for figure in figures:
            print(f"{figure.what}: {figure.measured} (asked: {figure.asked})")
        _keep(name, figures)


def _keep(name: str, figures: list[Figure]) -> None:
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    results[name] = {
        "date": date.today().isoformat(),
        "machine": f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}",
        "figures": [asdict(f) for f in figures],
    }
    file.write_text(json.dumps(results, indent=2) + "\n")
    (HERE / "RESULTS.md").write_text(_page(results))


def _page(results: dict[str, Any]) -> str:
    """All that was kept, as Markdown."""
    lines = [
        "# What was measured",
        "",
        "Every figure with the command that measures it again. Written by `python -m benchmarks`; seconds are of a",
        "shared machine and drift, so speed is told as a ratio measured in one run wherever there is something to",
        "divide by.",
    ]
    for each in NAMES:
        if each not in results:
            continue
        kept = results[each]
        lines += ["", f"## {each}", "", f"`python -m benchmarks {each}` · {kept['date']} · {kept['machine']}", ""]
        lines += ["| what | asked | measured |", "| --- | --- | --- |"]
        lines += [f"| {f['what']} | {f['asked']} | {f['measured']} |" for f in kept["figures"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
