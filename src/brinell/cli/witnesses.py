"""Keeping what an attack found: witnesses beside their clean examples, in a file of arrays."""

from pathlib import Path
from typing import Literal

from brinell.auditing.ledger import write_atomically
from brinell.errors import UsageError
from brinell.questions.evasion.alone import AttackRun

Kind = Literal["npz", "safetensors"]


def kind_of(path: Path) -> Kind:
    """The format that a name asks for. Raises UsageError on any other, before anything is attacked."""
    match path.suffix:
        case ".npz":
            return "npz"
        case ".safetensors":
            return "safetensors"
    raise UsageError(f"--save {str(path)!r} is neither .npz nor .safetensors; give one of them")


def write(path: Path, kind: Kind, strike: AttackRun) -> None:
    """Write the broken examples: x the witnesses, x0 the clean ones, y labels, id row numbers, distance."""
    from io import BytesIO

    import numpy as np
    from safetensors.numpy import save

    found, data = strike.found, strike.data
    rows = found.broken.nonzero().flatten().cpu()
    arrays = {
        "x": found.x[rows].cpu().numpy(),
        "x0": data.x[rows].cpu().numpy(),
        "y": data.y[rows].cpu().numpy(),
        "id": data.ids[rows].cpu().numpy(),
        "distance": found.distance[rows].cpu().numpy(),
    }
    if kind == "safetensors":
        write_atomically(path, save(arrays))
        return
    store = BytesIO()
    np.savez_compressed(store, allow_pickle=False, **arrays)
    write_atomically(path, store.getvalue())
