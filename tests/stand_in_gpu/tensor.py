"""Tensors that say they are on a GPU."""

import warnings

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
GPU = torch.device('cuda', 0)
MOVES = {aten.copy_.default, aten._to_copy.default}
INDEXES = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
WAITS = {
    aten._local_scalar_dense.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
warns_of_waits = False


class StandIn(Tensor):
    """A tensor on the CPU that says it is on a GPU.

    Operations that mix it with tensors that say they are on the CPU fail, but for
    those that a GPU takes: scalars, indices, and copies from here to there.
    """

    @staticmethod
    def __new__(cls, on_cpu):
        options = {'dtype': on_cpu.dtype, 'device': GPU}
        if on_cpu.layout == torch.strided:
            options['strides'] = on_cpu.stride()
            options['storage_offset'] = on_cpu.storage_offset()
        else:
            options['dispatch_layout'] = True
        out = Tensor._make_wrapper_subclass(cls, on_cpu.size(), **options)
        out.on_cpu = on_cpu
        return out

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if any(kind not in (Tensor, StandIn, torch.nn.Parameter) for kind in types):
            return NotImplemented
        return compute(func, args, kwargs or {})

    def __repr__(self, **kwargs):
        return f'StandIn({self.on_cpu!r})'

    def __deepcopy__(self, memo):
        out = StandIn(self.on_cpu.clone()).requires_grad_(self.requires_grad)
        out._is_param = getattr(self, '_is_param', False)
        return out

    def tolist(self):
        return self.on_cpu.tolist()

    def numpy(self, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy


class StandInMode(TorchDispatchMode):
    """Where tensors made for a GPU, or moved to it, are :class:`StandIn`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if _is_gpu(kwargs.get('device')) and not types:
            return compute(func, args, kwargs)
        return func(*args, **kwargs)


def compute(func, args, kwargs):
    """Computes on the CPU, after a check of where the operands say they are."""
    operands = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    on_gpu = any(isinstance(x, StandIn) for x in operands)
    if on_gpu:
        _check_devices(func, args, operands)
    if func in MOVES | INDEXES:
        on_gpu = isinstance(args[0], StandIn)
    if kwargs.get('device') is not None:
        on_gpu = _is_gpu(kwargs['device'])
    if warns_of_waits and _waits(func, args, kwargs, on_gpu):
        warnings.warn(f'{func} is synchronizing', stacklevel=2)

    kwargs = {k: v for k, v in kwargs.items() if k not in ('device', 'pin_memory')}
    device = {'device': 'cpu'} if _takes_device(func) else {}
    inner = pytree.tree_map_only(StandIn, lambda x: x.on_cpu, (args, kwargs))
    out = _on_cpu(func, *inner[0], **inner[1], **device)

    known = {id(x.on_cpu): x for x in operands if isinstance(x, StandIn)}
    if not on_gpu:
        return out
    return pytree.tree_map_only(
        Tensor, lambda x: known[id(x)] if id(x) in known else StandIn(x), out
    )


def _check_devices(func, args, operands):
    free = func in MOVES
    if func in INDEXES and isinstance(args[0], StandIn):
        operands, free = args[2:3], False  # indices may be anywhere
    if free:
        return
    for x in operands:
        if isinstance(x, Tensor) and not isinstance(x, StandIn) and x.dim() > 0:
            raise RuntimeError(
                f'{func}: expected all tensors to be on the same device, but found '
                f'cuda:0 and cpu, of shape {list(x.shape)}'
            )


def _waits(func, args, kwargs, on_gpu):
    if func in MOVES:
        source = args[1 if func is aten.copy_.default else 0]
        if isinstance(source, StandIn):
            return not on_gpu
        return on_gpu and not (kwargs.get('non_blocking') or True in args[2:])
    if not any(isinstance(x, StandIn) for x in pytree.tree_leaves((args, kwargs))):
        return False
    if func is aten.index.Tensor:
        return any(x is not None and x.dtype == torch.bool for x in args[1])
    return func in WAITS and kwargs.get('output_size') is None


def _on_cpu(func, *args, **kwargs):
    if func is torch.ops.prim.layout.default:
        return args[0].layout
    if func is aten.mm.dtype:  # sums in float32 of products in half precision
        return args[0].float() @ args[1].float()
    if func is aten.mm.default and args[0].layout == torch.sparse_csr:
        return func(args[0].float(), args[1].float()).to(args[1].dtype)
    return func(*args, **kwargs)


def _takes_device(func):
    return any(argument.name == 'device' for argument in func._schema.arguments)


def _is_gpu(device):
    return device is not None and torch.device(device).type == 'cuda'
