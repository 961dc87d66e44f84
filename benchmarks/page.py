"""Opening the page of a run with 200,000 verdicts."""

import tempfile
from pathlib import Path

import torch

from benchmarks.figure import Figure, clock
from brinell import Audit, __version__
from brinell.auditing import Ledger
from brinell.auditing.ledger import Work
from brinell.auditing.question import Journal
from brinell.evidence import Certificate, Evidence, Look, Witness
from brinell.questions.evasion import PRESETS
from brinell.report import write_report

EXAMPLES, RADII, SHARD = 100_000, (0.05, 0.1), 10_000


def run() -> list[Figure]:
    """From the folder to report.html, once imported."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _write(path)
        write_report(Audit.open(path), path / "warm.html")
        reading, audit = clock(lambda: Audit.open(path))
        writing, _ = clock(lambda: write_report(audit, path / "report.html"))
        size = (path / "report.html").stat().st_size
    return [
        Figure(
            f"report of a run with {EXAMPLES * len(RADII):,} verdicts: read and written",
            "< 3 s",
            f"{reading + writing:.1f} s ({reading:.1f} s read, {writing:.1f} s written), {size / 1024:.0f} KB",
        )
    ]


def _write(path: Path) -> None:
    """Examples broken, certified and open by turns, with an image for every witness of the first shard."""
    question = "evasion/linf/untargeted"
    asked = {
        "data": "0" * 64, "threat": question, "set": "linf", "radii": list(RADII),
        "plan": PRESETS["quick"].model_dump(mode="json"),
    }  # fmt: skip
    with Ledger(path) as ledger:
        ledger.describe(
            {
                "identity": {
                    "target": "0" * 64, "data": "0" * 64, "questions": {question: asked}, "seed": 0,
                    "version": __version__,
                },
                "asked": {question: "evasion"},
                "status": "complete", "seconds": 1.0,
                "environment": {
                    "brinell": __version__, "torch": torch.__version__, "python": "", "platform": "", "command": "",
                    "started": "", "target": "synthetic", "data": "synthetic", "workers": 1,
                },
            }
        )  # fmt: skip
        Journal(ledger, question).update(
            goal="untargeted", classes=None, features=None, box=[0.0, 1.0], n=EXAMPLES,
            examples=[str(i) for i in range(EXAMPLES)], ids=list(range(EXAMPLES)), y=[i % 10 for i in range(EXAMPLES)],
        )  # fmt: skip
        for start in range(0, EXAMPLES, SHARD):
            items = range(start, start + SHARD)
            evidence: list[Evidence] = [Certificate(i, "IBP()", 0.05 * (1 + i % 2), 1.0) for i in items if i % 3]
            rows = [i for i in items if not i % 3] if start == 0 else []
            evidence += [Witness(i, "FGSM()", 0.06, row, 1, 0.9) for row, i in enumerate(rows)]
            tensors = {name: torch.rand(len(rows), 1, 28, 28) for name in ("x", "x0")} if rows else {}
            ledger.record(
                Work(question, "FGSM()", f"{start}", 1, "0.1", SHARD, len(evidence), 0, SHARD, SHARD, 1.0),
                [*evidence, *(Look(i, "Clean()", i % 10, 0.9) for i in items)],
                tensors,
            )
