"""Programs saved by `torch.export.save` (.pt2), read so that nothing in the file can run.

`torch.export.load` trusts its file: it unpickles sample inputs and constants, evaluates shape expressions
as Python, resolves an operator by walking attributes from `torch` (so `torch.os.system` is one), and builds
source code from the names of the graph. So the file is not given to it. What we know to be data is copied
into a new archive, and that one is loaded: raw tensors, and a graph in which every string is a plain name,
every operator a tensor function of ATen, and every shape expression plain arithmetic. Whatever is not on
these lists is refused.
"""

import io
import json
import logging
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from brinell.errors import CannotRun, Refused, UsageError
from brinell.types import Inputs, Logits

Json = Any

_INSTEAD = "give the factory and its weights instead: FILE.py:FACTORY with weights=FILE.safetensors"

_IDENTIFIER = re.compile(r"((?!__)[A-Za-z_]\w*)?", re.ASCII)
_NAME = re.compile(r"(?!__)\w*(\.(?!__)\w+)*", re.ASCII)
_TEXT = re.compile(r"[\w .,:;<>=+*/()\[\]-]*", re.ASCII)
_TENSOR_FILE = re.compile(r"(weight|tensor)_\d+", re.ASCII)
_ARITHMETIC = re.compile(
    r"([\s,()+\-/<>=]|\*(?!\*)|\d{1,18}(\.\d{0,18})?(?![\w.])"
    r"|(Symbol|Integer|Float|Rational|Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|IntTrueDiv|FloatTrueDiv"
    r"|TruncToInt|ToFloat|Eq|Ne|Le|Lt|Ge|Gt|Not|And|Or|integer|positive|nonnegative|True|False|[suz]\d+)\b"
    r"|'[suz]\d+')*",
    re.ASCII,
)

# fmt: off
_SCALAR_OPS = frozenset((
    *(f"_operator.{name}" for name in (
        "getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg",
        "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_",
    )),
    "torch.sym_int", "torch.sym_float", "torch.sym_max", "torch.sym_min", "torch.sym_not",
    "math.ceil", "math.floor",
    "torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.wrap_with_autocast",
))
_PRIVATE_OPS = frozenset((
    "_softmax", "_log_softmax", "_to_copy", "_unsafe_view", "_unsafe_index", "_convolution",
    "_adaptive_avg_pool2d",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit_functional",
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math", "_fused_rms_norm",
    "_weight_norm", "_transformer_encoder_layer_fwd", "_native_multi_head_attention", "_cdist_forward",
    "_assert_scalar", "_assert_tensor_metadata", "_assert_async",
))
_OPS_WITHOUT_TENSOR = frozenset((
    "sym_size", "sym_numel", "sym_stride", "sym_storage_offset", "sym_constrain_range",
    "sym_constrain_range_for_size", "item", "_assert_scalar", "_assert_tensor_metadata", "_assert_async",
))
_TEXT_ARGUMENTS = frozenset((
    "approximate", "rounding_mode", "reduce", "mode", "equation", "padding", "padding_side", "side",
    "interpolation", "indexing", "norm", "ord", "driver", "p", "pad_mode", "UPLO", "assert_msg",
))
# fmt: on


def load_exported(path: Path) -> nn.Module:
    """The module of a .pt2 file, for a batch of any size.

    A program exported for a fixed batch, and that cannot take another, is run in batches of that size, the
    last one filled up with copies of a row. Raises Refused where the file could run code, CannotRun where it
    is damaged, UsageError for a program that is not a classifier of one input in eval mode.
    """
    clean = io.BytesIO(_rebuilt(path))
    try:
        with _silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(clean)
            module = program.module(check_guards=False)
    except Exception as error:
        raise CannotRun(f"{path}: torch {torch.__version__} cannot load this program; export it again") from error
    # Without these two, a module that holds this one could not be switched to eval mode.
    del module.train, module.eval
    return _for_any_batch(program, module.eval(), path)


def _for_any_batch(program: torch.export.ExportedProgram, module: nn.Module, path: Path) -> nn.Module:
    signature = program.graph_signature
    if len(signature.user_inputs) != 1 or len(signature.user_outputs) != 1:
        raise UsageError(
            f"{path}: the program takes {len(signature.user_inputs)} inputs and returns "
            f"{len(signature.user_outputs)} outputs; export a module of one batch and one tensor of scores"
        )
    if signature.buffers_to_mutate or any(_trains(node) for node in program.graph.nodes):
        raise UsageError(f"{path}: the program was exported in training mode; call model.eval() before torch.export")
    entry = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name in signature.user_inputs)
    example = entry.meta["val"]
    if example.dim() == 0:
        raise UsageError(f"{path}: the program takes a single number; its first axis must count examples")
    if not isinstance(example.shape[0], int):
        return module
    # Its only use is to refuse other batches; most programs do not depend on the one they were exported for.
    module._forward_pre_hooks.clear()
    looped = FixedBatch(module, example.shape[0]).eval()
    return module if _is_free(module, looped, example) else looped


def _is_free(module: nn.Module, looped: nn.Module, example: Tensor) -> bool:
    """Whether the program gives to a batch of another size what it gives when run in batches of its own."""
    if not all(isinstance(n, int) for n in example.shape):
        return False
    rows = 2 if example.shape[0] != 2 else 3
    x = torch.rand(rows, *example.shape[1:], generator=torch.Generator().manual_seed(0)).to(example.dtype)
    try:
        with torch.no_grad():
            one = module(x)
            other = looped(x)
    except Exception:  # noqa: BLE001 - a shape it cannot take fails in as many ways as there are operators
        return False
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _trains(node: torch.fx.Node) -> bool:
    """Whether a node drops values at random, or normalises by the batch it is given."""
    aten = torch.ops.aten
    return (node.target == aten.dropout.default and node.args[2] is True) or (
        node.target == aten.batch_norm.default and node.args[5] is True
    )


@final
class FixedBatch(nn.Module):
    """A module that takes `size` examples at a time, for any number of them."""

    def __init__(self, inner: nn.Module, size: int) -> None:
        super().__init__()
        self.inner = inner
        self.size = size

    def forward(self, x: Inputs) -> Logits:
        short = -len(x) % self.size
        full = torch.cat([x, x[-1:].expand(short, *x.shape[1:])]) if short else x
        parts = [full[i : i + self.size] for i in range(0, len(full), self.size)]
        return torch.cat([self.inner(part) for part in parts])[: len(x)]


def _rebuilt(path: Path) -> bytes:
    """The bytes of a new archive that holds what we know to be data, and nothing else."""
    members = _members(path)
    graph = _parse(members.get("models/model.json"), path)
    weights = _parse(members.get("data/weights/model_weights_config.json"), path)
    constants = _parse(members.get("data/constants/model_constants_config.json"), path)
    _check_samples(members.get("data/sample_inputs/model.pt", b""), path)

    plain = ("archive_format", "archive_version", "byteorder")
    new: dict[str, bytes] = {name: members[name] for name in plain if name in members}
    for folder, config in (("weights", weights), ("constants", constants)):
        for file in _tensor_files(config, folder, members, path):
            new[f"data/{folder}/{file}"] = members[f"data/{folder}/{file}"]
        new[f"data/{folder}/model_{folder}_config.json"] = json.dumps(config).encode()
    new["models/model.json"] = json.dumps(_checked_graph(graph, path)).encode()
    new["data/sample_inputs/model.pt"] = b""  # a pickle, and nothing we need
    new[".data/version"] = b"6\n"

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in new.items():
            archive.writestr(f"model/{name}", content)
    return out.getvalue()


def _members(path: Path) -> dict[str, bytes]:
    """Every member of the archive, without its top folder. A compressed one may be a bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            size = path.stat().st_size
            if any(i.compress_type != zipfile.ZIP_STORED for i in infos) or sum(i.file_size for i in infos) > size:
                raise Refused(f"{path}: the archive is compressed, which torch.export.save never does; export it again")
            names = [i.filename for i in infos]
            if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) > 1:
                raise Refused(f"{path}: the archive has two members of one name, or two roots; export it again")
            members = {i.filename.partition("/")[2]: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, Refused):
            raise
        raise CannotRun(f"{path}: not a program saved by torch.export.save, or damaged") from error
    if members.get("archive_format") != b"pt2" or "models/model.json" not in members:
        raise CannotRun(f"{path}: not a program saved by torch.export.save (torch 2.9 or later); {_INSTEAD}")
    for name in members:
        if not _known(name):
            raise Refused(f"{path}: holds {name[:80]!r}, which may be code; {_INSTEAD}")
    return members


def _known(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder in ("data/weights", "data/constants"):
        kind = folder.rpartition("/")[2]
        return bool(_TENSOR_FILE.fullmatch(file)) or file == f"model_{kind}_config.json"
    return name in (
        "models/model.json",
        "data/sample_inputs/model.pt",
        "archive_format",
        "archive_version",
        "byteorder",
        ".data/version",
        ".data/serialization_id",
    ) or name.startswith("extra/")


def _parse(content: bytes | None, path: Path) -> Json:
    try:
        return json.loads(content or b"")
    except (ValueError, RecursionError) as error:
        raise CannotRun(f"{path}: its description is missing or damaged; export it again") from error


def _check_samples(content: bytes, path: Path) -> None:
    """Sample inputs are never used; one that holds code says enough about the file."""
    if content:
        try:
            torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except Exception as error:
            raise Refused(f"{path}: its sample inputs hold more than tensors; {_INSTEAD}") from error


def _tensor_files(config: Json, folder: str, members: dict[str, bytes], path: Path) -> list[str]:
    """The files of raw tensors that a payload table names, after checking every row of it."""
    _check(config, path)
    try:
        rows = list(config["config"].values())
        for row in rows:
            if row["use_pickle"] is not False or not _TENSOR_FILE.fullmatch(row["path_name"]):
                raise Refused(f"{path}: holds a pickled object ({row['path_name'][:40]}); {_INSTEAD}")
            held = len(members[f"data/{folder}/{row['path_name']}"])
            if math.prod(int(size["as_int"]) for size in row["tensor_meta"]["sizes"]) > held:
                raise CannotRun(f"{path}: a tensor is larger than its data; export it again")
        return sorted({row["path_name"] for row in rows})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CannotRun(f"{path}: its table of {folder} is damaged; export it again") from error


def _checked_graph(program: Json, path: Path) -> Json:
    """The graph without what only people read (stack traces, guards), and with every string checked."""
    try:
        graph = program["graph_module"]
        graph["metadata"] = {}
        graph["treespec_namedtuple_fields"] = {}
        program["guards_code"] = []
        graph["module_call_graph"] = [call for call in graph["module_call_graph"] if call["fqn"] == ""]
    except (KeyError, TypeError) as error:
        raise CannotRun(f"{path}: its graph is damaged; export it again") from error
    _check(program, path)
    return program


def _check(value: Json, path: Path, key: str = "", depth: int = 0) -> None:
    """Walk the description; refuse any string that its place does not allow."""
    if depth > 100:
        raise CannotRun(f"{path}: its description is nested too deeply; export it again")
    if isinstance(value, dict):
        if key == "metadata":
            value.clear()
        for name, inner in value.items():
            if name in ("as_custom_obj", "custom_obj"):
                raise Refused(f"{path}: holds a custom object; {_INSTEAD}")
            _refuse_unless(_NAME.fullmatch(name), name, path)
            _check(inner, path, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, path, key, depth + 1)
    elif isinstance(value, str):
        _refuse_unless(_STRINGS.get(key, _NAME.fullmatch)(value), value, path)


def _refuse_unless(allowed: object, text: str, path: Path) -> None:
    if not allowed:
        raise Refused(f"{path}: its graph holds {text[:80]!r}, which may be code; {_INSTEAD}")


def _is_operator(target: str) -> bool:
    """Whether a name stands for a pure function: of tensors (ATen), or of numbers."""
    if target in _SCALAR_OPS:
        return True
    found = re.fullmatch(r"torch\.ops\.aten\.([a-zA-Z]\w*|_[a-z]\w*)\.(\w+)", target, re.ASCII)
    if not found or (found[1].startswith("_") and found[1] not in _PRIVATE_OPS):
        return False
    try:
        schema = getattr(getattr(torch.ops.aten, found[1]), found[2])._schema
    except AttributeError:
        return False
    texts = {a.name for a in schema.arguments if "str" in str(a.type)}
    tensors = any("Tensor" in str(r.type) for r in schema.returns)
    return texts <= _TEXT_ARGUMENTS and (tensors or found[1] in _OPS_WITHOUT_TENSOR)


def _is_tree(text: str) -> bool:
    """Whether a string describes nested tuples, lists and dicts of plain keys."""

    def plain(node: Json, depth: int) -> bool:
        kind = node["type"]
        context = node["context"]
        children = node["children_spec"]
        if depth > 20 or not all(plain(child, depth + 1) for child in children):
            return False
        if kind is None or kind in ("builtins.tuple", "builtins.list"):
            return context in (None, "null")
        keys = json.loads(context) if kind == "builtins.dict" else None
        return isinstance(keys, list) and all(isinstance(k, str) and _NAME.fullmatch(k) for k in keys)

    try:
        version, root = json.loads(text)
        return version == 1 and plain(root, 0)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


_STRINGS: dict[str, Callable[[str], object]] = {
    "target": _is_operator,
    "as_operator": _is_operator,
    "name": _IDENTIFIER.fullmatch,
    "as_name": _IDENTIFIER.fullmatch,
    "expr_str": _ARITHMETIC.fullmatch,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "as_string": _TEXT.fullmatch,
    "as_strings": _TEXT.fullmatch,
    "torch_version": re.compile(r"[\w.+<=]*", re.ASCII).fullmatch,
}
"""What a string may be, by the key it stands under; elsewhere, a dotted name."""


@contextmanager
def _silent() -> Iterator[None]:
    """torch.export logs a traceback on a damaged file; the error says it in one line."""
    log = logging.getLogger("torch.export")
    was = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = was
