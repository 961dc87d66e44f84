"""PyTorch modules: scores, gradients and weights."""

import copy
import inspect
import warnings
from typing import Any, final

import torch
from torch import Tensor, nn

from brinell.errors import CannotRun
from brinell.targets.backend import Backend, as_logits
from brinell.targets.contents import Contents
from brinell.threat import Access
from brinell.types import Inputs, Logits

_OWN = frozenset(vars(nn.Module()))
"""What every module holds: modes, hooks, and the tensors that its state names."""


@final
class TorchBackend(Backend):
    """A snapshot of a module, in eval mode, parameters frozen: the caller's module is never touched."""

    access: Access = Access.WEIGHTS

    def __init__(self, module: nn.Module) -> None:
        self.was_training = module.training
        try:
            with warnings.catch_warnings():
                # Copying an exported program: torch warns about itself.
                warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
                self._module = copy.deepcopy(module).requires_grad_(False)
        except Exception as error:  # of a class of the user's own, so anything
            raise CannotRun(f"the module {type(module).__name__} cannot be copied: {error}") from error
        if not isinstance(self._module, torch.fx.GraphModule):  # an exported program has no modes
            self._module.eval()
        tensors = _tensors(self._module)
        floats = [t for t in tensors if t.is_floating_point()]
        self.dtype: torch.dtype | None = floats[0].dtype if floats else torch.float32
        self._device = tensors[0].device if tensors else torch.device("cpu")
        self._state = _state(self._module)  # as handed over: a model may change its buffers when it is asked

    def scores(self, x: Inputs) -> Logits:
        scores = as_logits(self._module(x.to(self._device)), len(x))
        return scores.to(x.device, torch.promote_types(scores.dtype, torch.float32))

    def digest(self) -> str:
        about = Contents(self._state)
        about.add(repr(self._module), _code(self._module))
        return about.digest

    def describe(self) -> str:
        count = sum(p.numel() for p in self._module.parameters())
        return f"{type(self._module).__name__} with {count:,} parameters"

    def copy(self) -> "TorchBackend":
        return TorchBackend(self._module)

    def module(self) -> nn.Module:
        return self._module


def _tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers; of a module without, the tensors it holds as plain attributes."""
    plain = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    return [*module.parameters(), *module.buffers()] or list(plain)


def _state(module: nn.Module) -> str:
    """A hash of the values that a module computes with: its state, and the attributes of classes of the user's own."""
    contents = Contents()
    contents.add(dict(sorted(module.state_dict().items())))
    for name, part in module.named_modules():
        if not type(part).__module__.startswith("torch."):  # theirs tell what they hold
            contents.add(name, {key: value for key, value in sorted(vars(part).items()) if key not in _OWN})
    return contents.digest


def _code(module: nn.Module) -> list[str]:
    """What a module computes, as text: models of equal weights and layers may still differ in `forward`."""
    graphs = [part.code for part in module.modules() if isinstance(part, torch.fx.GraphModule)]
    return graphs + sorted(map(_source, {type(part) for part in module.modules()}))


def _source(kind: type[Any]) -> str:
    if kind.__module__.startswith("torch."):
        return kind.__qualname__
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed at a prompt, or made at run time
        return kind.__qualname__
