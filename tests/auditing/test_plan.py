import json

import pytest
from pydantic import ValidationError

from brinell.auditing import Plan, Stage
from brinell.auditing.plan import find
from brinell.errors import CannotRun, UsageError
from brinell.evasion import APGD, PGD, dlr
from brinell.evidence import Soundness
from brinell.questions.evasion import PRESETS, load_plan
from brinell.questions.evasion.models import build
from brinell.threat import Access

CLEAN = {"engine": "Clean"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_can_be_built(name):
    plan = load_plan(name)
    assert plan.name == name
    for stage in plan.stages:
        build(stage)
    assert load_plan(plan) is plan


def test_what_standard_asks_on_suspicion_full_always_asks():
    assert len(PRESETS["quick"].stages) < len(PRESETS["standard"].stages)
    waiting = {s.engine for s in PRESETS["standard"].stages if s.when != "always"}
    asked = {s.engine for s in PRESETS["full"].stages if s.when == "always"}
    assert waiting
    assert waiting <= asked


@pytest.mark.parametrize("name", PRESETS)
def test_a_stage_is_meant_for_sets_that_its_engine_answers_for(name):
    for stage in PRESETS[name].stages:
        assert not stage.row.sets or set(stage.sets) <= set(stage.row.sets), stage.label
        assert not stage.sets or set(stage.sets) <= {"linf", "l2", "l1", "l0"}


@pytest.mark.parametrize(
    ("set", "families"),
    [
        ("linf", {"minimal", "gradient", "score"}),
        ("l2", {"minimal", "score"}),
        ("l1", {"minimal"}),
        ("l0", {"minimal"}),
    ],
)
def test_standard_probes_in_every_norm_and_something_goes_on(set, families):
    """Square searches linf and l2 alone."""
    stages = PRESETS["standard"].for_access(Access.GRADIENTS, name=set).stages
    kept = [s for s in stages if not s.row.sets or set in s.row.sets]
    assert {s.row.family for s in kept if s.probes} == families
    minimal = {s.engine for s in kept if s.probes and s.row.family == "minimal"}
    assert minimal <= {s.engine for s in kept if s.when == "paying"}


@pytest.mark.parametrize("name", PRESETS)
def test_what_waits_to_be_paid_follows_a_stage_of_its_engine(name):
    stages = PRESETS[name].stages
    for index, stage in enumerate(stages):
        if stage.when == "paying":
            assert stage.engine in {s.engine for s in stages[:index]}


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    plan = PRESETS["standard"]
    (tmp_path / "strict.yaml").write_text("name: strict\nsoundness: float32\nstages: [{engine: Clean}]\n")
    assert load_plan(tmp_path / "strict.yaml").soundness is Soundness.FLOAT32
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    (tmp_path / "plan.yaml").write_text(plan.model_dump_json())  # JSON is YAML
    assert load_plan(tmp_path / "plan.json") == plan
    assert load_plan(str(tmp_path / "plan.yaml")) == plan


@pytest.mark.parametrize("name", ["quick", "standard", "full"])
def test_only_what_the_access_allows_is_kept(name):
    plan = PRESETS[name]
    assert {s.engine for s in plan.for_access(Access.LABELS).stages} == {"Clean", "Noise"}
    assert {s.engine for s in plan.for_access(Access.SCORES).stages} == {"Clean", "Noise", "Square"}
    assert all(s.row.kind == "attack" for s in plan.for_access(Access.GRADIENTS).stages)
    assert {"attack", "proof"} == {s.row.kind for s in plan.for_access(Access.WEIGHTS).stages}
    for access in Access:
        kept = plan.for_access(access)
        assert all(s.row.access <= access for s in kept.stages)
        assert kept.for_access(access) == kept
        Plan.model_validate(kept.model_dump())


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([], "first stage must be"),
        ([{"engine": "PGD"}], "first stage must be"),
        ([CLEAN, {"engine": "PGD"}, {"engine": "PGD"}], r"stage PGD\(\) comes twice"),
        ([CLEAN, {"engine": "PGD", "steps": 3}], "steps"),
        ([CLEAN, {"engine": "PGD", "on": "everything"}], "open"),
    ],
)
def test_a_plan_that_cannot_be_right_is_refused(stages, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Plan.model_validate({"name": "mine", "stages": stages})


def test_the_same_engine_may_come_with_other_settings():
    challenge = Stage(engine="PGD", on="certified")
    plan = Plan(name="mine", stages=(Stage(engine="Clean"), Stage(engine="PGD"), challenge))
    assert plan.stages[2].label == "PGD() on the certified"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.json", "{", "is not a plan"),
        ("p.yaml", "a: [", "is not a plan"),
        ("p.yaml", "", "is not a plan"),
        ("p.yaml", "- 1", "is not a plan"),
        ("p.yaml", "!!python/object/apply:os.system [true]", "is not a plan"),
        ("p.json", json.dumps({"name": "x", "stages": [CLEAN], "shards": 3}), "shards: Extra inputs"),
        ("p.json", json.dumps({"name": "x", "stages": [CLEAN], "shard": 0}), "shard: .* greater than or equal to 1"),
        ("p.json", json.dumps({"name": "x", "stages": [CLEAN, {"engine": "Nope"}]}), "'Nope' is not known"),
        ("p.json", json.dumps({"name": "x", "stages": [{"engine": "PGD"}]}), "first stage must be"),
        ("p.txt", "", "give quick, standard, autoattack, proofs, radius, full"),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_plan(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_on_is_a_word(tmp_path):
    """YAML 1.1 takes it for true."""
    (tmp_path / "p.yaml").write_text("{name: x, stages: [{engine: Clean}, {engine: PGD, on: certified}]}")
    assert load_plan(tmp_path / "p.yaml").stages[1].on == "certified"


def test_a_file_that_is_not_text_is_not_a_plan(tmp_path):
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not a plan"):
        load_plan(tmp_path / "p.json")


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(CannotRun, match="cannot be read: No such file"):
        load_plan(tmp_path / "p.json")


def test_settings_reach_the_engine():
    assert build(Stage(engine="PGD", settings={"steps": 7})) == PGD(steps=7)
    assert build(Stage(engine="APGD", settings={"objective": "dlr", "targets": None})) == APGD(objective=dlr)


@pytest.mark.parametrize(
    ("engine", "settings", "sentence"),
    [
        ("PGD", {"stepz": 3}, "PGD has no setting 'stepz'; it takes steps"),
        ("Clean", {"steps": 3}, "Clean has no setting 'steps'; it takes none"),
        ("PGD", {"steps": "ten"}, "steps='ten'"),
        ("PGD", {"steps": 2.5}, "steps=2.5"),
        ("PGD", {"steps": 0}, "steps is 0"),
        ("PGD", {"objective": "loss"}, "objective 'loss' is not known; there are cross_entropy, dlr, margin"),
        ("PGD", {"objective": ["dlr"]}, "is not known"),
        ("CROWN", {"intermediate": "intervals"}, "intermediate='intervals'"),
        ("Nope", {}, "engine 'Nope' is not known.*; there are Clean"),
    ],
)
def test_settings_that_do_not_fit_are_named(engine, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        build(Stage(engine=engine, settings=settings))


def test_an_engine_is_found_by_its_name():
    assert find("PGD").resolve() is PGD
