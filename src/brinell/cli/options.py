"""The options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="FILE.py:FACTORY, package.module:FACTORY, .pt2, .onnx, .skops, or digits.")]
Data = Annotated[
    str | None,
    typer.Argument(help=".npz, idx(.gz), image folder, .csv, .parquet, or digits.", show_default=False),
]
SetOption = Annotated[
    str | None, typer.Option("--set", help="Perturbation set and radii: linf:8/255 or l2:0.25,0.5.", show_default=False)
]
ThreatOption = Annotated[
    str | None,
    typer.Option(
        "--set",
        "--threat",
        help="Perturbation set and radius: linf:8/255, or l2:inf for the smallest.",
        show_default=False,
    ),
]
Weights = Annotated[str | None, typer.Option(help=".safetensors or weights-only checkpoint for a factory.")]
Label = Annotated[str | None, typer.Option(help="Label column of a table.")]
BoxOption = Annotated[str | None, typer.Option("--box", help="Valid inputs: LOW,HIGH, or data. Default 0,1.")]
Mean = Annotated[str | None, typer.Option(help="The model sees (x - mean) / std: a number, or one a channel.")]
Std = Annotated[str | None, typer.Option(help="See --mean.")]
Count = Annotated[int | None, typer.Option("--n", min=1, help="Audit this many examples, drawn by --seed.")]
Balanced = Annotated[bool, typer.Option("--balanced", help="Draw equally many of each class.")]
Goal = Annotated[str, typer.Option(help="untargeted, least-likely, or a class number to be reached.")]
AccessOption = Annotated[
    str, typer.Option("--access", help="What the adversary sees: labels, scores, gradients, weights.")
]
Queries = Annotated[int | None, typer.Option(min=1, help="Forward rows an attack may spend on an example.")]
PlanOption = Annotated[str, typer.Option("--plan", help="quick, standard, full, autoattack, or a .json or .yaml file.")]
SoundnessOption = Annotated[
    str | None,
    typer.Option(
        "--soundness", help="Count certificates that hold in real, float64 or float32 arithmetic.", show_default=False
    ),
]
Budget = Annotated[str | None, typer.Option(help="Time to search for: 90s, 5m, 1h.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Decides the sample and every random choice.")]
Accept = Annotated[list[str] | None, typer.Option(help="Go on in spite of this severe finding, by its code.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; default one a core. Figures do not depend on it.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder; the same command continues there.")]
Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print result.json on stdout in place of the table.")]
