"""A network that cannot be read is audited without proofs, and with a note."""

import pytest
import torch
from torch import nn

import brinell
from brinell.questions.evasion.models import graph_of

ERRORS = (
    ValueError("no"),
    RuntimeError("shape '[1, 4]' is invalid"),
    AssertionError(),
    MemoryError(),
    TypeError("odd"),
)


def raising(error):
    def trace(*_):
        raise error

    return trace


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_reader_raises_is_a_note(monkeypatch, error):
    monkeypatch.setattr("brinell.questions.evasion.models.trace", raising(error))
    said = graph_of(brinell.target(nn.Linear(3, 2), box=(0, 1)), torch.rand(2, 3))
    assert isinstance(said, str)
    assert type(error).__name__ in said


def test_who_interrupts_is_heard(monkeypatch):
    monkeypatch.setattr("brinell.questions.evasion.models.trace", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        graph_of(brinell.target(nn.Linear(3, 2), box=(0, 1)), torch.rand(2, 3))
