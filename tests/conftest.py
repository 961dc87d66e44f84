"""What every test stands on: one torch thread, the same examples on every run, the shared data where it is.

Of a test marked `sweep(n)` one case in n is quick, drawn by its name, so that it is always the same; the rest is slow.
"""

import os
from collections import defaultdict
from math import ceil
from pathlib import Path
from zlib import crc32

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # two oversubscribed workers were seen 60 times slower

settings.register_profile("brinell", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("brinell")

SHARED = Path(os.environ.get("BRINELL_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test draws the same whatever ran before it, and on whichever worker: its fixtures too."""
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sweeps: defaultdict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sweep"):
            sweeps[item.nodeid.partition("[")[0], item.get_closest_marker("sweep").args[0]].append(item)
    for (_, share), cases in sweeps.items():
        drawn = sorted(cases, key=lambda item: crc32(item.name.encode()))
        for item in drawn[ceil(len(drawn) / share) :]:
            item.add_marker(pytest.mark.slow)
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
