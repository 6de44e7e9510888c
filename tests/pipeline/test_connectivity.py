import pytest
import torch
import torch.nn.functional as F
from slow_subgraph import lists, subgraph
from torch_geometric.nn import SAGEConv

from torch_geometric_reid.nn import ECGCN, FAGCN
from torch_geometric_reid.pipeline import ECConfig, Features, aggregate, connect
from torch_geometric_reid.transforms import AffinityGraph

CONFIG = ECConfig(num_neighbors=(8, 3), num_edges=4, batch_size=4)


def make_features(graph='probe', num_query=7, num_gallery=40):
    x = F.normalize(
        torch.randn(
            num_query + num_gallery, 5, generator=torch.Generator().manual_seed(0)
        )
    )
    torch.manual_seed(1)
    model = FAGCN(5, 6, last_act=False)
    return aggregate(model, x[:num_query], x[num_query:], AffinityGraph(k=4), graph)


def make_model(conv=None):
    torch.manual_seed(2)
    model = ECGCN(6, 8, num_layers=3) if conv is None else ECGCN(6, 8, 3, conv)
    for norm in model.norms:
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.01, 0.1)
    return model.eval()


def slow(model, features, p):
    """One probe: its sub-graph by brute force, the network on a plain edge list."""
    gallery, num = features.gallery.clone(), len(features.gallery)
    mine = features.patch.probe == p
    seen = gallery.clone()
    seen[features.patch.image[mine]] = features.patch.x[mine]
    # Lists among gallery images are on features that no probe has touched;
    # the probe stands in them by its distance to the images as it sees them.
    distance = torch.zeros(num + 1, num + 1, dtype=torch.float64)
    distance[:num, :num] = torch.cdist(gallery.double(), gallery.double()) ** 2
    own = (features.query[p].double() - seen.double()).square().sum(1)
    distance[num, :num] = distance[:num, num] = own
    ranking = lists(-distance)
    one_hop = ranking[num][: CONFIG.num_neighbors[0]]
    two_hop, edges = subgraph(
        ranking, num, one_hop, CONFIG.num_neighbors[1], CONFIG.num_edges
    )
    nodes = [num, *one_hop, *sorted(two_hop)]
    place = {node: i for i, node in enumerate(nodes)}
    x = torch.cat([seen, features.query[p : p + 1]])[nodes]
    edge_index = torch.tensor([[place[u], place[v]] for u, v in edges]).t()
    logits = model(x - x[0], edge_index)[1 : len(one_hop) + 1]
    return torch.tensor(one_hop), logits.softmax(dim=1)[:, 0]


@torch.no_grad()
def test_connect_equals_slow_inference():
    features, model = make_features(), make_model()
    out = connect(model, features, CONFIG)
    assert features.patch.probe.numel() > 0
    assert out.image.shape == out.distance.shape == (7, 8)
    assert ((out.distance >= 0) & (out.distance <= 1)).all()
    assert out.distance.std() > 0.01
    for p in range(7):
        image, distance = slow(model, features, p)
        assert out.image[p].equal(image)
        assert torch.allclose(out.distance[p], distance, atol=1e-4)


@torch.no_grad()
def test_connect_with_another_conv():
    features, model = make_features(), make_model(SAGEConv)
    out = connect(model, features, CONFIG)
    for p in range(7):
        assert torch.allclose(out.distance[p], slow(model, features, p)[1], atol=1e-4)


@pytest.mark.parametrize('elements', [1, 2**22])
def test_probes_do_not_depend_on_each_other_or_the_batch(elements, monkeypatch):
    features, model = make_features(), make_model()
    out = connect(model, features, CONFIG)
    some = torch.tensor([5, 0, 3])
    mine = torch.isin(features.patch.probe, some)
    place = torch.full((7,), -1)
    place[some] = torch.arange(3)
    probe = place[features.patch.probe[mine]]
    order = probe.argsort(stable=True)
    patch = features.patch._replace(
        probe=probe[order],
        image=features.patch.image[mine][order],
        x=features.patch.x[mine][order],
    )
    monkeypatch.setattr(
        'torch_geometric_reid.pipeline.connectivity.HIDDEN_ELEMENTS', elements
    )
    few = connect(
        model, Features(features.query[some], features.gallery, patch), CONFIG
    )
    assert few.image.equal(out.image[some])
    assert torch.allclose(few.distance, out.distance[some], atol=1e-5)


@pytest.fixture
def num_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures('num_threads')
@pytest.mark.parametrize('conv', [None, SAGEConv])
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('elements', [1, 2**22])
def test_threads_do_not_matter(conv, training, elements, monkeypatch):
    monkeypatch.setattr(
        'torch_geometric_reid.pipeline.connectivity.HIDDEN_ELEMENTS', elements
    )
    features, model = make_features(), make_model(conv)
    model.classifier.append(torch.nn.Dropout(0.9))  # noticed unless in evaluation
    model.train(training)
    outs = []
    for num_threads in [1, 3, 8]:  # more than there are probes
        torch.set_num_threads(num_threads)
        outs.append(connect(model, features, CONFIG))
        assert torch.get_num_threads() == num_threads
        assert {module.training for module in model.modules()} == {training}
    for out in outs[1:]:
        assert out.image.equal(outs[0].image)
        assert torch.allclose(out.distance, outs[0].distance, atol=1e-6)


def test_small_galleries():
    model = make_model()
    for num_gallery in [1, 2, 5]:
        x = F.normalize(torch.randn(num_gallery + 3, 6))
        out = connect(model, Features(x[:3], x[3:]), CONFIG)
        assert out.image.shape == (3, num_gallery)
        assert out.image.sort(dim=1).values.equal(
            torch.arange(num_gallery).expand(3, -1)
        )
        assert out.distance.isfinite().all()
