"""Files that would run code, read elsewhere, or grow, if they were believed."""

import gzip
import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import skops.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression

from brinell.errors import BrinellError, CannotRun, Refused
from brinell.targets import load
from targets.models import as_onnx, batch, mlp


class Payload:
    """Touches the canary when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


class Stranger(LogisticRegression):
    """A type that skops does not know."""


def pickled(canary, protocol=2):
    return pickle.dumps({"state_dict": Payload(canary)}, protocol)


def saved(what, **options):
    out = io.BytesIO()
    torch.save(what, out, **options)
    return out.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def estimator(kind=LogisticRegression):
    x = np.random.default_rng(0).normal(size=(12, 2))
    return kind().fit(x, np.arange(12) % 2)


@pytest.fixture(scope="module")
def program():
    """The members of a good .pt2, by their names under its root."""
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    out = io.BytesIO()
    torch.export.save(torch.export.export(mlp(), (batch(3, 4),), dynamic_shapes=dynamic), out)
    return {name.partition("/")[2]: content for name, content in members_of(out.getvalue()).items()}


def pack(members):
    return archive({f"model/{name}": content for name, content in members.items()})


def with_graph(program, change):
    graph = json.loads(program["models/model.json"])
    change(graph["graph_module"]["graph"], graph)
    return pack({**program, "models/model.json": json.dumps(graph)})


def with_table(program, folder, change):
    name = f"data/{folder}/model_{folder}_config.json"
    table = json.loads(program[name])
    change(table["config"])
    return {**program, name: json.dumps(table)}


def command(canary):
    return f"__import__('os').system('touch {canary}')"


# Files given as the model. Each entry: the name of the file, and what it holds.

PICKLES = {
    "torch zip": ("model.pt", lambda c: saved(Payload(c))),
    "torch zip named pth": ("model.pth", lambda c: saved({"model": Payload(c)})),
    "torch old": ("model.pt", lambda c: saved(Payload(c), _use_new_zipfile_serialization=False)),
    "whole module": ("model.pt", lambda c: saved(mlp())),
    "pickle": ("model.pkl", pickled),
    "pickle protocol 0": ("model.pkl", lambda c: pickled(c, 0)),
    "pickle protocol 5": ("model.pickle", lambda c: pickled(c, 5)),
    "joblib": ("model.joblib", pickled),
    "joblib compressed": ("model.joblib", lambda c: gzip.compress(pickled(c))),
    "bin": ("pytorch_model.bin", lambda c: saved({"a": Payload(c)})),
    "numpy objects": ("model.npz", lambda c: archive({"a.npy": objects(c)})),
    "pickle named onnx": ("model.onnx", pickled),
    "torch zip named onnx": ("model.onnx", lambda c: saved(Payload(c))),
    "protocol 0 named onnx": ("model.onnx", lambda c: pickled(c, 0)),
    "pickle named skops": ("model.skops", pickled),
    "torch zip named skops": ("model.skops", lambda c: saved(Payload(c))),
    "pickle named pt2": ("model.pt2", pickled),
    "torch zip named pt2": ("model.pt2", lambda c: saved(Payload(c))),
    "pickle named safetensors": ("model.safetensors", pickled),
    "compressed pickle named onnx": ("model.onnx", lambda c: gzip.compress(pickled(c))),
    "skops unknown type": ("model.skops", lambda c: skops.io.dumps(estimator(Stranger))),
    "skops that names a function": ("model.skops", lambda c: named_function(c)),
    "skops with an array of objects": ("model.skops", lambda c: pickled_array(c)),
    "torchscript": ("model.pt", lambda c: scripted()),
}


def objects(canary):
    out = io.BytesIO()
    np.save(out, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    return out.getvalue()


def named_function(canary):
    members = members_of(skops.io.dumps(estimator()))
    schema = json.loads(members["schema.json"])
    schema.update(__module__="os", __class__="system", __loader__="FunctionNode")
    return archive({**members, "schema.json": json.dumps(schema)})


def pickled_array(canary):
    members = members_of(skops.io.dumps(estimator()))
    return archive({n: objects(canary) if n.endswith(".npy") else content for n, content in members.items()})


def scripted():
    return archive(
        {"m/data.pkl": b"\x80\x02.", "m/constants.pkl": b"\x80\x02.", "m/code/m.py": b"x", "m/version": b"3"}
    )


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def assert_refused(attempt, canary, *kinds):
    with pytest.raises(kinds or (CannotRun,)) as caught:
        attempt()
    said = str(caught.value)
    assert not canary.exists(), "the file ran its code"
    assert "\n" not in said
    assert len(said) < 600
    assert any(word in said for word in ("give ", "save ", "export ", "write ", "copy ", "a model is one of")), said


@pytest.mark.parametrize("case", PICKLES)
def test_a_model_file_never_runs(case, tmp_path, canary):
    name, make = PICKLES[case]
    (tmp_path / name).write_bytes(make(canary))
    assert_refused(lambda: load(tmp_path / name), canary, BrinellError)


def test_the_payload_would_have_worked(canary):
    pickle.loads(pickled(canary))
    assert canary.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.bin", "w"])
@pytest.mark.parametrize(
    "make",
    [
        pickled,
        lambda c: saved({"state_dict": Payload(c)}),
        lambda c: saved({"state_dict": Payload(c)}, _use_new_zipfile_serialization=False),
        lambda c: saved(mlp()),
        lambda c: gzip.compress(pickled(c)),
        lambda c: scripted(),
    ],
    ids=["pickle", "zip", "old", "module", "gzip", "torchscript"],
)
def test_a_checkpoint_never_runs(make, name, tmp_path, canary):
    (tmp_path / name).write_bytes(make(canary))
    assert_refused(lambda: load(mlp(), weights=tmp_path / name), canary)


def test_a_checkpoint_names_what_it_asked_for(tmp_path, canary):
    (tmp_path / "w.pt").write_bytes(saved({"state_dict": Payload(canary)}))
    with pytest.raises(Refused, match=r"asks to run (posix|nt)\.system"):
        load(mlp(), weights=tmp_path / "w.pt")


def test_a_checkpoint_does_not_grow(tmp_path, canary):
    members = {f"a/data/{i}": bytes(2**20) for i in range(20)}
    (tmp_path / "w.pt").write_bytes(archive({"a/data.pkl": b"\x80\x02}."} | members, zipfile.ZIP_DEFLATED))
    assert_refused(lambda: load(mlp(), weights=tmp_path / "w.pt"), canary, Refused)


@pytest.mark.parametrize("size", [10**9, 2**62, 2**64 - 1])
def test_a_header_that_lies_is_damage(size, tmp_path, canary):
    header = json.dumps({"a": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert_refused(lambda: load(mlp(), weights=tmp_path / "w.safetensors"), canary)
    (tmp_path / "v.safetensors").write_bytes(struct.pack("<Q", size) + header)
    assert_refused(lambda: load(mlp(), weights=tmp_path / "v.safetensors"), canary)


# Exported programs.


def in_samples(program, canary):
    return pack({**program, "data/sample_inputs/model.pt": saved(((Payload(canary),), {}))})


def in_weights(program, canary):
    changed = with_table(program, "weights", lambda rows: next(iter(rows.values())).update(use_pickle=True))
    return pack({**changed, "data/weights/weight_0": saved(Payload(canary))})


def in_constants(program, canary, file="tensor_0"):
    row = {"path_name": file, "is_param": False, "use_pickle": True, "tensor_meta": None}
    changed = with_table(program, "constants", lambda rows: rows.update(extra=row))
    content = pickle.dumps(Payload(canary)) if file.startswith("opaque") else saved(Payload(canary))
    return pack({**changed, f"data/constants/{file}": content})


def in_shape(program, canary):
    def change(graph, _):
        for value in graph["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"{command(canary)} or 2"

    return with_graph(program, change)


def in_operator(program, canary, name="torch.os.system"):
    def change(graph, _):
        text = {"name": "filename", "arg": {"as_string": str(canary)}, "kind": 1}
        graph["nodes"][1].update(target=name, inputs=[text])

    return with_graph(program, change)


def in_name(program, canary):
    text = program["models/model.json"].decode()
    evil = json.dumps(f"input={command(canary)}")
    return pack({**program, "models/model.json": text.replace('"input"', evil)})


def in_attribute(program, canary):
    text = program["models/model.json"].decode()
    return pack({**program, "models/model.json": text.replace('"linear"', '"torch.ops.aten.relu"')})


def in_tree(program, canary):
    (canary.parent / "evil_module.py").write_text(f"import os\nos.system('touch {canary}')\n")
    leaf = {"type": None, "context": None, "children_spec": []}
    context = {"default_factory_module": "evil_module", "default_factory_name": "x", "dict_context": ["a"]}
    tree = [1, {"type": "collections.defaultdict", "context": context, "children_spec": [leaf]}]

    def change(_, whole):
        whole["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(tree)

    return with_graph(program, change)


def in_enum(program, canary):
    (canary.parent / "evil_module.py").write_text(f"import os\nos.system('touch {canary}')\n")
    context = json.dumps({"__enum__": True, "fqn": "evil_module:X", "name": "x"})
    tree = [1, {"type": "builtins.dict", "context": context, "children_spec": []}]

    def change(_, whole):
        whole["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(tree)

    return with_graph(program, change)


def huge(program, canary):
    def change(rows):
        next(iter(rows.values()))["tensor_meta"]["sizes"] = [{"as_int": 10**12}]

    return pack(with_table(program, "weights", change))


PROGRAMS = {
    "sample inputs": in_samples,
    "weights": in_weights,
    "constants": in_constants,
    "opaque constants": lambda p, c: in_constants(p, c, "opaque_obj_0"),
    "custom objects": lambda p, c: in_constants(p, c, "custom_obj_0"),
    "constants outside": lambda p, c: in_constants(p, c, "../../../tensor_0"),
    "shape expression": in_shape,
    "operator os.system": in_operator,
    "operator that reads files": lambda p, c: in_operator(p, c, "torch.ops.aten.from_file.default"),
    "operator that writes files": lambda p, c: in_operator(p, c, "torch.ops.aten.save.default"),
    "operator of attributes": lambda p, c: in_operator(p, c, "_operator.attrgetter"),
    "operator from another library": lambda p, c: in_operator(p, c, "torch.ops.evil.run.default"),
    "private operator": lambda p, c: in_operator(p, c, "torch.ops.aten._print.default"),
    "name of an input": in_name,
    "name of a node": in_attribute,
    "tree that imports": in_tree,
    "enum that imports": in_enum,
    "shared library": lambda p, c: pack({**p, "data/aotinductor/model/a.so": b"\x7fELF"}),
    "old format": lambda p, c: pack({**p, "data/weights/model.pt": saved(Payload(c))}),
    "tensor larger than its data": huge,
    "two members of one name": lambda p, c: doubled(p),
    "compressed": lambda p, c: archive({f"m/{k}": v + bytes(10**6) for k, v in p.items()}, zipfile.ZIP_DEFLATED),
    "deep": lambda p, c: pack({**p, "models/model.json": b"[" * 100_000 + b"]" * 100_000}),
    "no graph": lambda p, c: pack({**p, "models/model.json": b"{}"}),
    "no description": lambda p, c: pack({**p, "models/model.json": b"\xff"}),
    "truncated": lambda p, c: pack(p)[:-200],
    "sizes that lie": lambda p, c: pack(p).replace(struct.pack("<I", 80), struct.pack("<I", 2**31 - 1)),
}


def doubled(program):
    out = io.BytesIO(pack(program))
    with zipfile.ZipFile(out, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("model/models/model.json", b"{}")
    return out.getvalue()


@pytest.mark.parametrize("case", PROGRAMS)
def test_a_program_never_runs(case, program, tmp_path, canary, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "model.pt2").write_bytes(PROGRAMS[case](program, canary))
    assert_refused(lambda: load(tmp_path / "model.pt2"), canary)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".py") == ["model.pt2"]


def test_the_program_itself_is_fine(program, tmp_path):
    (tmp_path / "model.pt2").write_bytes(pack(program))
    torch.testing.assert_close(load(tmp_path / "model.pt2").scores(batch(5, 4)), mlp()(batch(5, 4)).detach())


# ONNX models whose tensors lie in another file.


def outside(folder, location):
    """A model in `folder` that asks for its tensors at `location`; the tensors themselves lie above it."""
    folder.mkdir()
    options = {"save_as_external_data": True, "location": "data.bin", "size_threshold": 0}
    onnx.save(as_onnx(mlp()), str(folder / "model.onnx"), **options)
    (folder / "data.bin").rename(folder.parent / "secret.bin")
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "./../secret.bin",
        "a/../../secret.bin",
        "/SECRET",
        "..\\secret.bin",
        "link.bin",
        "twin.bin",
        "sub/secret.bin",
        "missing.bin",
        "",
        "*/_ORT_MEM_ADDR_/*",
        "secret.bin\0",
        "x" * 5000,
    ],
)
def test_a_model_reads_no_file_outside_its_folder(location, tmp_path, canary):
    secret = tmp_path / "secret.bin"
    path = outside(tmp_path / "here", location.replace("/SECRET", str(secret)))
    (path.parent / "link.bin").symlink_to(secret)
    (path.parent / "sub").symlink_to(tmp_path, target_is_directory=True)
    if location == "twin.bin":
        os.link(secret, path.parent / "twin.bin")
    assert_refused(lambda: load(path), canary, Refused)


def test_a_tensor_deep_in_the_model_is_found_too(tmp_path, canary):
    model = as_onnx(mlp())
    constant = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [0.0])
    constant.ClearField("float_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="../secret.bin")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["u"], value=constant)], "then", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["v"], then_branch=inner, else_branch=inner))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert_refused(lambda: load(tmp_path / "model.onnx"), canary, Refused)


def test_a_skops_file_does_not_grow(tmp_path, canary):
    members = members_of(skops.io.dumps(estimator())) | {"bomb": bytes(50 * 2**20)}
    (tmp_path / "model.skops").write_bytes(archive(members, zipfile.ZIP_DEFLATED))
    assert_refused(lambda: load(tmp_path / "model.skops"), canary, Refused)


# Damage: whatever the bytes are, only our own errors leave.

GOOD = {
    "model.onnx": as_onnx(mlp()).SerializeToString(),
    "model.skops": skops.io.dumps(estimator()),
    "w.safetensors": save(mlp().state_dict()),
}


def complaint(attempt):
    """What our error says; empty where the damage did no harm. Any other exception fails the test."""
    try:
        attempt()
    except BrinellError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", GOOD)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_damaged_files_are_our_errors(name, tmp_path, data):
    content = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    path = tmp_path / name
    path.write_bytes(content[:keep])
    assert "\n" not in complaint(lambda: load(mlp(), weights=path) if name.startswith("w.") else load(path))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_damaged_programs_are_our_errors(program, tmp_path, data):
    text = bytearray(program["models/model.json"])
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(b'0129"{}[],:nte_.'))
    path = tmp_path / "model.pt2"
    path.write_bytes(pack({**program, "models/model.json": bytes(text)}))
    assert "\n" not in complaint(lambda: load(path))


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=64), st.sampled_from(["pt", "pt2", "onnx", "skops", "pkl", "safetensors", "x"]))
def test_noise_is_our_error(tmp_path, content, suffix):
    path = Path(tmp_path / f"model.{suffix}")
    path.write_bytes(content)
    for attempt in (lambda: load(path), lambda: load(mlp(), weights=path)):
        with pytest.raises(BrinellError):
            attempt()


def test_joblib_files_are_pickles(tmp_path, canary):
    for compress in (0, 3, ("bz2", 3), ("xz", 3), ("lzma", 3), ("zlib", 1)):
        joblib.dump(estimator(), tmp_path / "model.joblib", compress=compress)
        assert_refused(lambda: load(tmp_path / "model.joblib"), canary, Refused)
