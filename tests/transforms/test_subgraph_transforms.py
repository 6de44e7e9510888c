from copy import copy

import torch
import torch_geometric.transforms as T
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, FAGCN
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.transforms import (
    AffinityGraph,
    AggregateFeatures,
    CenterProbe,
    ConnectivityLabel,
    EvaluateConnectivity,
    FuseEdges,
)


def make_loader(transform=None, batch_size=5):
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(3))
    data = Data(
        x=x, y=torch.arange(40) % 7, edge_index=torch.empty(2, 0, dtype=torch.long)
    )
    sampler = HardGallerySampler(knn(x, 10).index, (8, 2), 3)
    return NodeLoader(data, sampler, batch_size=batch_size, transform=transform)


def test_center_probe():
    batch = next(iter(make_loader()))
    out = CenterProbe()(batch)
    for i in range(batch.num_nodes):
        assert out.x[i].equal(batch.x[i] - batch.x[batch.batch[i]])
    assert not out.x[:5].any()
    assert batch.x[:5].any()


def test_connectivity_label():
    out = ConnectivityLabel()(next(iter(make_loader())))
    assert out.edge_label_index.shape == (2, 40)
    assert out.edge_label_index[1].tolist() == [*range(5, 45)]
    assert out.edge_label_index[0].tolist() == [b for b in range(5) for _ in range(8)]
    for p, g, label in zip(*out.edge_label_index, out.edge_label, strict=True):
        assert label == int(out.n_id[p] % 7 == out.n_id[g] % 7)


def test_fuse_edges():
    batch = next(iter(make_loader()))
    out = FuseEdges()(batch)
    assert isinstance(out.edge_index, EdgeIndex)
    assert out.edge_index.as_tensor().equal(batch.edge_index)
    out.edge_index.validate()


def test_evaluate_connectivity_composes():
    model = ECGCN(6, 8, num_layers=2)
    transform = T.Compose([CenterProbe(), FuseEdges(), EvaluateConnectivity(model)])
    batches = list(make_loader(transform))
    for plain, out in zip(make_loader(), batches, strict=True):
        assert out.connectivity.shape == (5, 8)
        total = out.connectivity + out.connectivity_distance
        assert torch.allclose(total, torch.ones(5, 8), atol=1e-6)
        x = plain.x - plain.x[plain.batch]
        logits = model.eval()(x, plain.edge_index)[5:45].view(5, 8, 2)
        assert torch.allclose(out.connectivity, logits.softmax(-1)[..., 1], atol=1e-5)
    assert str(transform.transforms[2]).startswith('EvaluateConnectivity(ECGCN(6, 8')


def test_evaluate_connectivity_reads_images():
    model = ECGCN(6, 8, num_layers=2).eval()
    loader = make_loader()
    batch = next(iter(loader))
    expected = EvaluateConnectivity(model)(CenterProbe()(copy(batch)))
    del batch.x
    out = EvaluateConnectivity(model, loader.data.x)(batch)
    assert torch.allclose(out.connectivity, expected.connectivity, atol=1e-6)


def test_a_probe_alone_scores_as_in_a_batch():
    model = ECGCN(6, 8, num_layers=3)
    for module in model.norms:  # statistics of some training
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2)
    transform = T.Compose([CenterProbe(), EvaluateConnectivity(model)])
    scores = []
    for batch_size in [1, 7, 40]:
        loader = make_loader(transform, batch_size)
        scores.append(torch.cat([batch.connectivity for batch in loader]))
    assert torch.allclose(scores[0], scores[1], atol=1e-5)
    assert torch.allclose(scores[0], scores[2], atol=1e-5)


def test_aggregate_features_composes():
    model = FAGCN(6, 8)
    data = Data(x=torch.randn(20, 6))
    graph = AffinityGraph(k=3)(data)
    expected = model.encode(graph.x, graph.edge_index, graph.edge_weight)
    transform = T.Compose([AffinityGraph(k=3), AggregateFeatures(model)])
    out = transform(data)
    assert torch.allclose(out.x, expected)
    assert not out.x.requires_grad
    assert out.edge_index.equal(graph.edge_index)
    assert str(AggregateFeatures(model)) == (
        'AggregateFeatures(FAGCN(6, 8, num_layers=1))'
    )


def test_the_whole_method_composes():
    fa, ec = FAGCN(6, 8), ECGCN(8, 4, num_layers=2)
    data = Data(x=torch.randn(30, 6))
    data = T.Compose([AffinityGraph(k=3), AggregateFeatures(fa)])(data)
    loader = NodeLoader(
        data,
        HardGallerySampler(knn(data.x, 10).index, (8, 2), 3),
        transform=T.Compose([CenterProbe(), FuseEdges(), EvaluateConnectivity(ec)]),
        batch_size=10,
    )
    for batch in loader:
        assert batch.edge_index.size(1) > batch.num_nodes  # loops and more
        assert batch.connectivity.shape == (10, 8)


def test_models_stay_in_their_mode():
    model = ECGCN(6, 4, num_layers=1).train()
    EvaluateConnectivity(model)(CenterProbe()(next(iter(make_loader()))))
    assert model.training
    fa = FAGCN(6, 4).train()
    T.Compose([AffinityGraph(k=2), AggregateFeatures(fa)])(Data(x=torch.randn(9, 6)))
    assert fa.training
