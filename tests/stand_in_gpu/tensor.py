"""Tensors that say they are on a GPU."""

import warnings

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
GPU = torch.device('cuda', 0)
MOVES = {aten.copy_.default, aten._to_copy.default}
PUTS = {
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
INDEXES = {aten.index.Tensor, *PUTS}
FILLS = {aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor}
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
        return self.cpu().tolist()

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
    if on_gpu:
        _check_generators(args, kwargs)
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
    if func in MOVES:
        return
    if func in INDEXES and isinstance(args[0], StandIn):
        operands = args[2:3]  # indices may be anywhere
    takes_scalars = func in PUTS | FILLS or torch.Tag.pointwise in func.tags
    for x in operands:
        if not isinstance(x, Tensor) or isinstance(x, StandIn):
            continue
        changes = func._schema.is_mutable and x is args[0]
        if x.dim() > 0 or changes or not takes_scalars:
            raise RuntimeError(
                f'{func}: expected all tensors to be on the same device, but found '
                f'cuda:0 and cpu, of shape {list(x.shape)}'
            )


def _check_generators(args, kwargs):
    for x in pytree.tree_leaves((args, kwargs)):
        if isinstance(x, torch.Generator) and x.device.type == 'cpu':
            raise RuntimeError(
                "expected a 'cuda' device type for generator but found 'cpu'"
            )


def _waits(func, args, kwargs, on_gpu):
    if func in MOVES:
        source = args[1 if func is aten.copy_.default else 0]
        if isinstance(source, StandIn):
            return not on_gpu
        return on_gpu and not (kwargs.get('non_blocking') or True in args[2:])
    if func in INDEXES and isinstance(args[0], StandIn):
        index = [x for x in args[1] if x is not None]
        if func in PUTS and _is_fill(index, *args[2:]):
            return False
        return any(x.dtype == torch.bool or not isinstance(x, StandIn) for x in index)
    if not any(isinstance(x, StandIn) for x in pytree.tree_leaves((args, kwargs))):
        return False
    return func in WAITS and kwargs.get('output_size') is None


def _is_fill(index, value, accumulate=False, unsafe=False):
    is_mask = len(index) == 1 and index[0].dtype == torch.bool
    is_number = value.numel() == 1 and not isinstance(value, StandIn)
    return is_mask and is_number and not accumulate


def _on_cpu(func, *args, **kwargs):
    if func is torch.ops.prim.layout.default:
        return args[0].layout
    if func in (aten.mm.default, aten.mm.dtype) and args[0].dtype == args[1].dtype:
        if func is aten.mm.dtype:  # sums in float32 of products in half precision
            return args[0].float() @ args[1].float()
        if args[0].layout == torch.sparse_csr and args[0].dtype == torch.bfloat16:
            return func(args[0].float(), args[1].float()).bfloat16()
    return func(*args, **kwargs)


def _takes_device(func):
    return any(argument.name == 'device' for argument in func._schema.arguments)


def _is_gpu(device):
    return device is not None and torch.device(device).type == 'cuda'
