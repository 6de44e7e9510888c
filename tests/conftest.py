import pytest
import torch

torch.set_num_threads(1)  # small tensors; more threads only wait for each other

HAS_GPU = torch.cuda.is_available()


@pytest.fixture(autouse=True, scope='session')
def _no_gpu():
    # Sums on a GPU are in no fixed order, so that few results repeat to the bit.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, 'is_available', lambda: False)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def gpu(monkeypatch):
    """For a test that needs a GPU."""
    if not HAS_GPU:
        pytest.skip('needs a GPU')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
