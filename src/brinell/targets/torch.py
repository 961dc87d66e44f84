"""PyTorch modules: scores, gradients and weights."""

import copy
import hashlib
import inspect
import warnings
from typing import final

import torch
from torch import nn

from brinell.errors import CannotRun
from brinell.targets.backend import Backend, as_logits
from brinell.threat import Access
from brinell.types import Inputs, Logits


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
        except (RuntimeError, TypeError) as error:
            raise CannotRun(f"the module {type(module).__name__} cannot be copied: {error}") from error
        if not isinstance(self._module, torch.fx.GraphModule):  # an exported program has no modes
            self._module.eval()
        tensors = [*self._module.parameters(), *self._module.buffers()]
        floats = [t for t in tensors if t.is_floating_point()]
        self._dtype = floats[0].dtype if floats else torch.float32
        self._device = tensors[0].device if tensors else torch.device("cpu")

    def scores(self, x: Inputs) -> Logits:
        scores = as_logits(self._module(x.to(self._device, self._dtype)), len(x))
        return scores.to(x.device, torch.promote_types(scores.dtype, torch.float32))

    def digest(self) -> str:
        h = hashlib.sha256(repr(self._module).encode())
        for text in _code(self._module):
            h.update(text.encode())
        for name, tensor in sorted(self._module.state_dict().items()):
            flat = tensor.detach().cpu().contiguous()
            h.update(f"{name} {flat.dtype} {tuple(flat.shape)}".encode())
            h.update(flat.reshape(-1).view(torch.uint8).numpy().tobytes())
        return h.hexdigest()

    def describe(self) -> str:
        count = sum(p.numel() for p in self._module.parameters())
        return f"{type(self._module).__name__} with {count:,} parameters"

    def copy(self) -> "TorchBackend":
        return TorchBackend(self._module)

    def module(self) -> nn.Module:
        return self._module


def _code(module: nn.Module) -> list[str]:
    """What a module computes, as text: models of equal weights and layers may still differ in `forward`."""
    graphs = [part.code for part in module.modules() if isinstance(part, torch.fx.GraphModule)]
    return graphs + sorted(map(_source, {type(part) for part in module.modules()}))


def _source(kind: type[nn.Module]) -> str:
    if kind.__module__.startswith("torch."):
        return kind.__qualname__
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed at a prompt, or made at run time
        return kind.__qualname__
