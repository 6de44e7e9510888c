"""Makes PyTorch believe that there is a GPU."""

import torch
import torch_geometric.typing
from torch import Tensor

from tests.stand_in_gpu import tensor
from tests.stand_in_gpu.tensor import StandInMode


def install():
    """Patches PyTorch, in the thread that calls it and those that autograd starts."""
    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.is_bf16_supported = lambda *args, **kwargs: True
    cuda.get_device_capability = lambda device=None: (9, 0)
    cuda.get_rng_state = lambda device=None: torch.get_rng_state()
    cuda.set_rng_state = lambda state, device=None: torch.set_rng_state(state)
    cuda.set_sync_debug_mode = _set_sync_debug_mode
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda._lazy_init = lambda: None
    Tensor.pin_memory = lambda self, device=None: self
    # A parameter can not become a stand-in, but one can take its place.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    # torch.tensor makes a tensor on the CPU first, which the mode then sees moved.
    torch._C._set_only_lift_cpu_tensors(True)
    # Their operations are not of those that can be told apart by device in Python.
    torch_geometric.typing.WITH_TORCH_SCATTER = False
    torch_geometric.typing.WITH_TORCH_SPARSE = False
    StandInMode().__enter__()


def _set_sync_debug_mode(mode):
    if mode not in ('warn', 'default'):
        raise ValueError(f"'mode' needs to be 'warn' or 'default' (got {mode!r})")
    tensor.warns_of_waits = mode == 'warn'
