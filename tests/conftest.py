import pytest
import torch

torch.set_num_threads(1)  # small tensors; more threads only wait for each other


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
