from itertools import permutations

import pytest
import torch
from torch_geometric.explain import Explainer, GNNExplainer, ModelConfig

from torch_geometric_reid.nn import AffinityConv, ECGCNConv, FAGCNConv

LAYERS = {
    AffinityConv: AffinityConv,
    FAGCNConv: lambda: FAGCNConv(4, 3),
    ECGCNConv: lambda: ECGCNConv(4, 3),
}


@pytest.mark.parametrize('layer', LAYERS)
def test_edges_are_explained_whichever_layers_were_made_before(layer):
    convs = {kind: make() for kind, make in LAYERS.items()}
    edge_index = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 3]])
    explainer = Explainer(
        convs[layer],
        GNNExplainer(epochs=2),
        explanation_type='model',
        edge_mask_type='object',
        model_config=ModelConfig('regression', 'node', 'raw'),
    )
    mask = explainer(torch.randn(4, 4), edge_index, index=2).edge_mask
    assert mask[1] > 0
    assert mask[0] == mask[2] == mask[3] == 0  # not edges into node 2


@pytest.mark.parametrize(('layer', 'other'), permutations(LAYERS, 2))
def test_no_layer_derives_from_another(layer, other):
    assert not issubclass(layer, other)
