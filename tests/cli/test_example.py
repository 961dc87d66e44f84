"""`brinell example`: files that every command can be tried on."""

import builtins

import pytest

from brinell.cli.examples import write


@pytest.mark.slow
def test_it_writes_what_it_says_and_never_overwrites(brinell, tmp_path):
    done = brinell("example", "try")
    assert done.code == 0, done.err
    named = [line.split("  ")[0] for line in done.out.splitlines()]
    assert {"try/net.py", "try/test.npz", "try/net.onnx", "try/instances.csv", "try/risk.csv"} <= set(named)
    assert all((tmp_path / name).exists() for name in named)
    before = (tmp_path / "try/net.safetensors").read_bytes()
    done = brinell("example", "try")
    assert (done.code, "exists already" in done.err) == (2, True)
    assert (tmp_path / "try/net.safetensors").read_bytes() == before
    assert brinell("example", "no/such").code == 2


def test_it_is_the_same_every_time_and_does_without_extras(tmp_path, monkeypatch):
    importing = builtins.__import__

    def missing(name, *rest):
        if name.split(".")[0] in ("onnx", "skops"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    told = {file.name: about for file, about in write(tmp_path / "a")}
    assert told["net.onnx"] == "left out: onnx is not installed; install it with: pip install 'brinell[onnx]'"
    assert not (tmp_path / "a/net.onnx").exists()
    list(write(tmp_path / "b"))
    for name in ("net.safetensors", "near.vnnlib", "risk.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
