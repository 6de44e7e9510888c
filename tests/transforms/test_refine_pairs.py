import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.transforms import PairFeatures, RefinePairs
from torch_geometric_reid.transforms.refine_pairs import REFINED_FEATURES


def graph(num_nodes=40, k=9, mask=None):
    generator = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(num_nodes, 6, generator=generator))
    data = Data(x=x)
    if mask is not None:
        data.gallery_mask = mask
    data = PairFeatures(k)(data)
    data.link = torch.rand(num_nodes * k, generator=generator)
    return data


def dense(data, value):
    out = torch.zeros(data.num_nodes, data.num_nodes)
    out[data.edge_index[1], data.edge_index[0]] = value
    return out


def test_refined_pairs_equal_a_dense_form():
    data = graph()
    x, link = data.x, dense(data, data.link)
    out = RefinePairs(beta=2.0)(data.clone())
    z = F.normalize(2 * x + link @ x)
    assert torch.allclose(out.x, z, atol=1e-6)
    plain = PairFeatures(9)(Data(x=out.x))
    assert torch.equal(out.edge_index.as_tensor(), plain.edge_index.as_tensor())
    assert torch.allclose(out.edge_attr[:, :5], plain.edge_attr, atol=1e-5)
    assert out.edge_attr.shape == (360, len(REFINED_FEATURES))
    assert out.node_attr.shape == (40, len(REFINED_FEATURES))
    assert 'link' not in out

    neighbor, node = out.edge_index
    profile = F.normalize((link + link.t()) / 2 + torch.eye(40))
    expected = [link[node, neighbor], link[neighbor, node]]
    expected.append((profile @ profile.t())[node, neighbor])
    assert torch.allclose(out.edge_attr[:, 10:], torch.stack(expected, 1), atol=1e-5)

    before = {name: dense(data, data.edge_attr[:, i]) for i, name in enumerate('abcde')}
    both = dense(data, torch.ones(360))[node, neighbor] > 0
    for i, name in enumerate('abcde'):  # of pairs that were there before
        old = before[name][node, neighbor][both]
        assert torch.allclose(out.edge_attr[both, 5 + i], old, atol=1e-5)
    assert torch.allclose(out.edge_attr[:, 5], (x @ x.t())[node, neighbor], atol=1e-6)


def test_probes_change_nothing_for_others():
    mask = torch.arange(40) < 30
    data = graph(mask=mask)
    alone = Data(x=data.x[:31], gallery_mask=mask[:31])
    alone = PairFeatures(9)(alone)
    alone.link = data.link[: 31 * 9]
    whole, alone = RefinePairs()(data), RefinePairs()(alone)
    size = 31 * 9
    assert torch.equal(whole.edge_index[0][:size], alone.edge_index[0])
    assert torch.allclose(whole.edge_attr[:size], alone.edge_attr, atol=1e-6)
    assert torch.allclose(whole.x[:31], alone.x, atol=1e-6)
