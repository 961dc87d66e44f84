"""Commands run in this process, as `main` runs them: much faster than a process each, which imports torch anew."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from brinell.cli import main
from questions.runs import examples, network

NET = "import torch\nfrom torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))\n"  # noqa: E501


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it printed where."""

    code: int
    out: str
    err: str


class Command:
    """Calls `brinell`, with words for arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *words: Any) -> Done:
        self._monkeypatch.setattr("sys.argv", ["brinell", *map(str, words)])
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        self._capfd.readouterr()
        try:
            main()
        except SystemExit as left:
            code = int(left.code or 0)
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)
        out, err = self._capfd.readouterr()
        assert "Traceback" not in out + err
        assert "\x1b" not in out + err
        return Done(code, out, err)


def model_files(folder: Path, n: int = 120) -> tuple[str, str]:
    """A factory with its weights beside it, and examples in a table: (model, data)."""
    import numpy as np

    net = network()
    (folder / "net.py").write_text(NET)
    save_file(net.state_dict(), folder / "net.safetensors")
    x, y = examples(net, n)
    np.savez(folder / "data.npz", x=x.numpy(), y=y.numpy())
    return f"{folder / 'net.py'}:build", str(folder / "data.npz")
