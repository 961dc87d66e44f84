"""PyTorch modules: scores, gradients and weights."""

import copy
import hashlib
from typing import ClassVar, final

import torch
from torch import nn

from brinell.errors import CannotRun
from brinell.target.backend import Backend, as_logits
from brinell.threat import Access
from brinell.types import Inputs, Logits


@final
class TorchBackend(Backend):
    """A snapshot of a module, in eval mode and with frozen parameters: the caller's module is never touched."""

    access: ClassVar[Access] = Access.WEIGHTS

    def __init__(self, module: nn.Module) -> None:
        self.was_training = module.training
        try:
            self._module = copy.deepcopy(module).requires_grad_(False)
        except (RuntimeError, TypeError) as error:
            raise CannotRun(f"the module {type(module).__name__} cannot be copied: {error}") from error
        if not isinstance(self._module, torch.fx.GraphModule):  # an exported program has no train or eval mode
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
