import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from torch_geometric_reid.nn import FAGCN, NeighborMean
from torch_geometric_reid.pipeline import Features, aggregate
from torch_geometric_reid.transforms import AffinityGraph, AggregateFeatures


def make_set(num_query, num_gallery, seed, dim=4):
    generator = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(num_query + num_gallery, dim, generator=generator))
    return x[:num_query], x[num_query:]


def make_models(dim=4):
    return [NeighborMean(), NeighborMean(concat=True), FAGCN(dim, 7)]


def for_probe(features, p):
    """The features of a probe and of the gallery as that probe sees it."""
    gallery = features.gallery.clone()
    if features.patch is not None:
        mine = features.patch.probe == p
        gallery[features.patch.image[mine]] = features.patch.x[mine]
    return features.query[p], gallery


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 14), st.integers(1, 5), st.booleans(), st.sampled_from([0.0, 0.3]),
    st.integers(0, 2), st.integers(0, 10**6),
)  # fmt: skip
def test_probe_graph_equals_a_rebuild_for_each_probe(
    num_gallery, k, binary, threshold, which, seed
):
    query, gallery = make_set(5, num_gallery, seed)
    torch.manual_seed(seed)
    model = make_models()[which]
    affinity = AffinityGraph(
        min(k, num_gallery - 1), binary=binary, threshold=threshold
    )
    features = aggregate(model, query, gallery, affinity, 'probe')
    for p in range(5):
        alone = Data(x=torch.cat([gallery, query[p : p + 1]]))
        z = AggregateFeatures(model)(affinity(alone)).x
        z_probe, z_gallery = for_probe(features, p)
        assert torch.allclose(z_probe, z[-1], atol=1e-5)
        assert torch.allclose(z_gallery, z[:-1], atol=1e-5)


def test_probes_that_fit_beside_all_of_a_small_gallery():
    query, gallery = make_set(3, 4, 0)
    affinity = AffinityGraph(k=4)
    with pytest.warns(UserWarning, match="'k' is cut from 4 to 3"):
        features = aggregate(NeighborMean(), query, gallery, affinity, 'probe')
    for p in range(3):
        data = affinity(Data(x=torch.cat([gallery, query[p : p + 1]])))
        z = NeighborMean().encode(data.x, data.edge_index, data.edge_weight)
        assert torch.allclose(for_probe(features, p)[1], z[:-1], atol=1e-5)


def test_probes_do_not_depend_on_each_other():
    query, gallery = make_set(12, 40, 0)
    model, affinity = FAGCN(4, 16), AffinityGraph(k=4)
    all_probes = aggregate(model, query, gallery, affinity, 'probe').distance()
    some = [7, 2, 9]
    few = aggregate(model, query[some], gallery, affinity, 'probe').distance()
    assert torch.allclose(few, all_probes[some], atol=1e-6)


def test_gallery_graph_leaves_the_gallery_alone():
    query, gallery = make_set(6, 30, 0)
    model, affinity = FAGCN(4, 16, num_layers=2), AffinityGraph(k=4)
    features = aggregate(model, query, gallery, affinity, 'gallery')
    alone = AggregateFeatures(model)(affinity(Data(x=gallery))).x
    assert torch.allclose(features.gallery, alone, atol=1e-6)
    assert features.patch is None
    probe = aggregate(FAGCN(4, 16), query, gallery, affinity, 'probe')
    torch.manual_seed(0)
    assert probe.patch.probe.numel() > 0


def test_joint_graph():
    query, gallery = make_set(6, 30, 0)
    model, affinity = FAGCN(4, 16, num_layers=2), AffinityGraph(k=4, symmetrize=True)
    features = aggregate(model, query, gallery, affinity, 'joint')
    z = AggregateFeatures(model)(affinity(Data(x=torch.cat([gallery, query])))).x
    assert features.gallery.equal(z[:30])
    assert features.query.equal(z[30:])


@pytest.mark.parametrize('metric', ['sqeuclidean', 'euclidean', 'cosine'])
def test_patched_distances(metric):
    query, gallery = make_set(6, 30, 1)
    features = aggregate(FAGCN(4, 16), query, gallery, AffinityGraph(k=4), 'probe')
    out = features.distance(metric)
    for p in range(6):
        z, gallery = for_probe(features, p)
        expected = Features(z.view(1, -1), gallery).distance(metric)
        assert torch.allclose(out[p], expected[0], atol=1e-5)


def test_rejects():
    query, gallery = make_set(6, 30, 0)
    with pytest.raises(ValueError, match="'num_layers=2'"):
        aggregate(FAGCN(4, 8, 2), query, gallery, AffinityGraph(k=4), 'probe')
    with pytest.raises(ValueError, match='symmetrize=True'):
        aggregate(
            FAGCN(4, 8), query, gallery, AffinityGraph(k=4, symmetrize=True), 'probe'
        )
    with pytest.raises(ValueError, match="'graph'.*'both'"):
        aggregate(FAGCN(4, 8), query, gallery, AffinityGraph(k=4), 'both')
