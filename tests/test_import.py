import subprocess
import sys

import pytest

import brinell

HEAVY = ("torch", "numpy", "scipy", "altair", "sklearn", "safetensors", "jinja2")


@pytest.mark.parametrize(
    "what",
    [
        "import brinell",
        "import brinell.cli",
        "import brinell; dir(brinell)",
        "from brinell.cli.app import app; app(['--help'], standalone_mode=False)",
        "from brinell.cli.app import app; app(['list'], standalone_mode=False)",
        "from brinell.cli.app import app; app(['list', '--json'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(what):
    code = f"{what}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.split() == []


@pytest.mark.parametrize("name", brinell.__all__)
def test_every_public_name_is_there(name):
    assert getattr(brinell, name) is not None
    assert name in dir(brinell)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        brinell.nothing  # noqa: B018


def test_help_imports_no_command_and_nothing_that_draws():
    code = (
        "from brinell.cli import main\nimport sys\nsys.argv = ['brinell', '--help']\ntry:\n    main()\nfinally:\n    "
    )
    code += "print(*[m for m in sys.modules if m.startswith(('rich.', 'pydantic.', 'brinell.cli.'))], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stderr.split()) == ["brinell.cli.app", "brinell.cli.leave", "brinell.cli.process"]
