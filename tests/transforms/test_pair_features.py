import math

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.transforms import PairFeatures
from torch_geometric_reid.transforms.pair_features import PAIR_FEATURES


def features(num_nodes, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_nodes, dim, generator=generator))


@pytest.mark.parametrize(('num_nodes', 'k'), [(40, 12), (33, 30), (4, 3), (2, 1)])
def test_pair_features_equal_a_slow_form(num_nodes, k):
    x = features(num_nodes)
    data = PairFeatures(k)(Data(x=x))
    table = data.edge_attr.view(num_nodes, k, 5)
    neighbor = data.edge_index[0].view(num_nodes, k)
    assert data.edge_index[1].tolist() == [
        i for i in range(num_nodes) for _ in range(k)
    ]

    cosine = x @ x.t()
    others = cosine.clone().fill_diagonal_(-2)
    order = others.argsort(dim=1, descending=True)[:, :k]
    density = others.gather(1, order[:, :10]).mean(dim=1)
    log = math.log(k + 2)
    for i in range(num_nodes):
        assert neighbor[i].tolist() == order[i].tolist()
        for place, j in enumerate(order[i].tolist()):
            back = order[j].tolist()
            rank_back = back.index(i) + 1 if i in back else k + 1
            expected = [
                cosine[i, j],
                cosine[i, j] - density[i],
                cosine[i, j] - density[j],
                math.log(place + 2) / log,
                math.log(rank_back + 1) / log,
            ]
            expected = pytest.approx([float(value) for value in expected], abs=1e-5)
            assert table[i, place].tolist() == expected
    own = torch.stack([torch.ones(num_nodes), 1 - density, 1 - density], dim=1)
    assert torch.allclose(data.node_attr[:, :3], own, atol=1e-6)
    assert not data.node_attr[:, 3:].any()


def test_pair_features_do_not_change_when_space_is_turned():
    x = features(60, 8)
    turn = torch.linalg.qr(features(8, 8, seed=1))[0]
    out, turned = PairFeatures(10)(Data(x=x)), PairFeatures(10)(Data(x=x @ turn))
    assert torch.equal(out.edge_index.as_tensor(), turned.edge_index.as_tensor())
    assert torch.allclose(out.edge_attr, turned.edge_attr, atol=1e-5)


def test_with_a_gallery_mask_probes_change_nothing_for_others():
    x = features(50)
    mask = torch.arange(50) < 40
    whole = PairFeatures(8)(Data(x=x, gallery_mask=mask))
    alone = PairFeatures(8)(Data(x=x[:41], gallery_mask=mask[:41]))
    gallery = PairFeatures(8)(Data(x=x[:40]))
    assert (whole.edge_index[0] < 40).all()
    for part in (alone, gallery):
        size = part.edge_attr.size(0)
        assert torch.equal(whole.edge_index[0][:size], part.edge_index[0])
        assert torch.allclose(whole.edge_attr[:size], part.edge_attr, atol=1e-6)


def test_probe_outside_the_gallery_has_the_rank_it_would_have():
    x = features(30)
    probe = PairFeatures(5)(Data(x=x, gallery_mask=torch.arange(30) < 29))
    joint = PairFeatures(5)(Data(x=x))
    listed = [data.edge_index[0].tolist()[-5:] for data in (probe, joint)]
    assert listed[0] == listed[1]
    rank = PAIR_FEATURES.index('rank_back')
    assert torch.allclose(probe.edge_attr[-5:, rank], joint.edge_attr[-5:, rank])


def test_rejects():
    with pytest.raises(ValueError, match="'k'"):
        PairFeatures(0)
    with pytest.raises(ValueError, match="'data' needs features"):
        PairFeatures(2)(Data(edge_index=torch.empty(2, 0)))
    with pytest.raises(ValueError, match="'x' needs at least two nodes"):
        PairFeatures(2)(Data(x=features(1)))
    assert PairFeatures(9)(Data(x=features(4))).edge_attr.shape == (12, 5)
    assert repr(PairFeatures(9)) == 'PairFeatures(k=9)'
