import pytest
import torch
from torch.nn.utils import parameters_to_vector

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.pipeline import ECConfig, FAConfig, train_ec, train_fa

FA = {'k': 3, 'hidden_channels': 32, 'steps': 5}
EC = {'num_neighbors': (10, 3), 'num_edges': 4, 'hidden_channels': 16, 'epochs': 1}


@pytest.mark.parametrize(
    ('train', 'config', 'options'),
    [(train_fa, FAConfig, FA), (train_ec, ECConfig, EC)],
)
def test_low_precision_products_train_nearly_the_same_weights(train, config, options):
    data = FakeReID('train', num_identities=20)[0]
    low, exact = [
        parameters_to_vector(
            train(data.x, data.y, config(**options, precision=precision)).parameters()
        )
        for precision in ('bfloat16', 'float32')
    ]
    assert low.dtype == torch.float32
    assert 0 < (low - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize('config', [FAConfig, ECConfig])
def test_unknown_precision_is_an_error(config):
    with pytest.raises(ValueError, match=r'precision.*float16'):
        config(precision='float16')
