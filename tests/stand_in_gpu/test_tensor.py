"""What the stand-in does as a GPU does: the tests run on a real one, too."""

import copy
import warnings

import pytest
import torch

pytestmark = pytest.mark.usefixtures('gpu')


@pytest.mark.parametrize(
    'mix',
    [
        lambda x, y: x + y,
        lambda x, y: y.add_(x),
        lambda x, y: torch.cat([x, y]),
        lambda x, y: y[x.argsort()],
        lambda x, y: x.index_put_((torch.arange(3),), y),
        lambda x, y: x[y.argsort()] + y,
        lambda x, y: torch.where(y > 0, x, x),
        lambda x, y: y[0].add_(x[0]),
        lambda x, y: torch.stack([x[0], y[0]]),
        lambda x, y: torch.searchsorted(x, y[0]),
        lambda x, y: x.normal_(generator=torch.Generator()),
        lambda x, y: torch.rand(3, generator=torch.Generator(), device=x.device),
    ],
)
def test_devices_do_not_mix(mix):
    x = torch.randn(3)
    with pytest.raises(RuntimeError, match='device|indices'):
        mix(x.cuda(), x)


def test_what_may_mix():
    x = torch.randn(3)
    y = x.cuda()
    y[torch.tensor([2])] = 1.0
    y += torch.tensor(2.0)
    assert y.is_cuda
    assert y[torch.tensor([0, 2])].is_cuda
    assert y.tolist() == [x[0] + 2, x[1] + 2, 3.0]
    assert torch.equal(torch.empty(3).copy_(y), y.cpu())


def test_no_array():
    with pytest.raises(TypeError, match='cuda:0'):
        torch.ones(2, device='cuda').numpy()


def test_parameters_and_gradients_are_there():
    model = copy.deepcopy(torch.nn.Linear(3, 1).to('cuda'))
    model(torch.ones(2, 3, device='cuda')).sum().backward()
    assert model.weight.is_cuda
    assert isinstance(model.weight, torch.nn.Parameter)
    assert model.weight.grad.tolist() == [[2.0, 2.0, 2.0]]


@pytest.mark.parametrize(
    ('operation', 'waits'),
    [
        (lambda x: x.sum().item(), True),
        (lambda x: x.nonzero(), True),
        (lambda x: x[x > 0], True),
        (lambda x: x.cpu(), True),
        (lambda x: x.tolist(), True),
        (lambda x: x[torch.tensor([0, 2])], True),
        (lambda x: x.index_put_((x > 0,), x[:1]), True),
        (lambda x: x.masked_fill_(x > 0, 1.0), False),
        (lambda x: torch.ones(3).to(x.device), True),
        (lambda x: x[x.argsort()], False),
        (lambda x: x.double() + 1, False),
        (lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True), False),
    ],
)
def test_waits(operation, waits):
    x = torch.randn(3, device='cuda')
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            operation(x)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert any('synchronizing' in str(w.message) for w in caught) == waits
