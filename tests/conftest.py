"""What every test stands on: one torch thread, the same examples on every run, the shared data where it is."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # two oversubscribed workers were seen 60 times slower

settings.register_profile("brinell", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("brinell")

SHARED = Path(os.environ.get("BRINELL_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SHARED.is_dir():
        skip = pytest.mark.skip(reason=f"no shared data at {SHARED}; set BRINELL_SHARED")
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(skip)


@pytest.fixture
def shared() -> Path:
    """The folder of shared data; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set BRINELL_SHARED")
    return SHARED
