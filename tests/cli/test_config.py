"""brinell.toml: what it fills in, what wins over it, and how a mistake in it is told."""

import json
import re
import tomllib

import pytest

from brinell import Audit
from brinell.cli.config import Config, options_of, template
from cli.command import model_files
from cli.conftest import PLAN


@pytest.fixture
def project(tmp_path, brinell):
    """A model, data and a short plan, and a brinell.toml that names them."""
    model_files(tmp_path, 60)
    (tmp_path / "plan.yaml").write_text(PLAN + "  - engine: IBP\n")

    def write(*lines: str, folder: object = "."):
        own = ['model = "net.py:build"', 'weights = "net.safetensors"', 'data = "data.npz"', 'plan = "plan.yaml"']
        (tmp_path / str(folder) / "brinell.toml").write_text("\n".join([*own, *lines]))
        return brinell

    return write


def test_audit_and_gate_suffice(project):
    brinell = project('sets = ["linf:0.01,3/100"]', 'out = "run"', 'gates = ["clean>=0.5", "certified@3/100>=0"]')
    done = brinell("audit")
    assert done.code == 0, done.err
    assert done.err.splitlines()[0] == "brinell.toml: model, weights, data, sets, ask, plan, out"
    assert Audit.open("run").radii == (0.01, 0.03)
    assert "3/100" in done.out
    done = brinell("gate")
    assert done.code == 0, done.out + done.err
    assert "certified@3/100>=0" in done.out
    assert brinell("gate", "--require", "clean>=1.0").code == 1, "what is given wins"


def test_an_option_wins_over_the_file(project):
    brinell = project('sets = [{set = "linf", radii = ["1/100"]}]', "n = 30", "seed = 3", 'accept = ["raises"]')
    assert brinell("audit", "--n", "7", "--set", "l2:0.1", "--out", "run").code == 0
    result = Audit.open("run").evasion
    assert (result.n, result.radii[0].set) == (7, "l2")
    assert brinell("check", "--json").code == 0
    assert brinell("audit", "--no-config").err == (
        "brinell: MODEL is missing: give a model, or name one in brinell.toml, which brinell init writes\n"
    )


def test_files_are_beside_the_file_that_names_them(project, tmp_path, monkeypatch):
    brinell = project('sets = ["linf:0.01"]', 'out = "run"')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "MODEL is missing" in brinell("audit").err
    assert brinell("audit", "--config", "../brinell.toml").code == 0
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('modle = "x"', "brinell.toml:5: the key modle is not known (did you mean model?)"),
        ("frobnicate = 1", "brinell.toml:5: the key frobnicate is not known; there are model, weights, data"),
        (
            'sets = [{set = "linf", radius = [0.1]}]',
            "brinell.toml:5: the key sets.0.radius is not known (did you mean",
        ),
        ('sets = [{set = "linf"}]', "brinell.toml:5: sets.0.radii: field required"),
        ("sets = []", "brinell.toml:5: sets: list should have at least 1 item"),
        ("sets = [3]", "brinell.toml:5: sets.0 is not understood; perturbation sets with their radii"),
        ('sets = ["linf:0.1", "l2:0.1"]', "brinell.toml: sets has 2 entries, and a run is about one"),
        ('n = "many"', "brinell.toml:5: n: input should be a valid integer"),
        ("n = 0", "brinell.toml:5: n: input should be greater than or equal to 1"),
        ("box = true", "brinell.toml:5: box is not understood; valid inputs: [LOW, HIGH], or data"),
        ('ask = ["evasoin"]', "brinell.toml: ask: 'evasoin' is no question (did you mean evasion?)"),
        ('[model]\nname = "x"', "brinell.toml is not TOML"),
        ("n = ", "brinell.toml is not TOML"),
        ('sets = ["linff:0.1"]', "--set 'linff:0.1' is not understood (did you mean linf?)"),
        ('sets = ["linf:0.1"]\naccept = ["zero-gradient"]', "is no finding's code (did you mean zero-gradients?)"),
        ('sets = ["linf:0.1"]\nbudget = "soon"', "--budget 'soon' is not a time"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(project, tmp_path, line, said):
    done = project(line)("audit")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len([text for text in done.err.splitlines() if text.startswith("brinell: ")]) == 1
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_there_is_one_line(brinell, tmp_path):
    done = brinell("audit", "--config", "nowhere.toml")
    assert (done.code, done.err) == (3, "brinell: nowhere.toml cannot be read: No such file or directory\n")
    (tmp_path / "brinell.toml").write_bytes(b"\xff\xfe")
    done = brinell("audit")
    assert (done.code, len(done.err.splitlines())) == (2, 1)


def test_help_needs_no_file_that_is_right(brinell, tmp_path):
    (tmp_path / "brinell.toml").write_text("nothing at all")
    assert brinell("audit", "--help").code == 0
    assert brinell("list").code == 0


def test_init_writes_every_key_and_never_overwrites(brinell, tmp_path):
    model_files(tmp_path, 60)
    done = brinell("init", "net.py:build", "data.npz")
    assert done.code == 0
    text = (tmp_path / "brinell.toml").read_text()
    told = {line.lstrip("# ").split(" = ")[0] for line in text.splitlines() if " = " in line}
    assert told >= Config.model_fields.keys()
    assert options_of(tmp_path / "brinell.toml")["weights"] == str(tmp_path / "net.safetensors")
    done = brinell("init")
    assert (done.code, "brinell.toml exists already" in done.err) == (2, True)
    assert (tmp_path / "brinell.toml").read_text() == text
    assert brinell("check", "--plan", "quick").code == 0


def test_what_init_writes_is_right_with_every_line_uncommented():
    lines = template('odd"name.onnx', "test.npz").splitlines()
    text = "\n".join(line.removeprefix("# ") if re.match("# [a-z]+ = ", line) else line for line in lines)
    assert Config.model_validate(tomllib.loads(text)).model == 'odd"name.onnx'


def test_the_schema_describes_every_key(brinell):
    schema = json.loads(brinell("schema").out)
    assert schema == Config.model_json_schema()
    assert schema["properties"].keys() == Config.model_fields.keys()
    assert all("description" in field for field in schema["properties"].values())
    assert schema["additionalProperties"] is False
