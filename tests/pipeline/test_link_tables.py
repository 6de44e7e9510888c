import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline import LinkConfig, link_tables
from torch_geometric_reid.pipeline.link_tables import prepare_tables, update_tables
from torch_geometric_reid.pipeline.predict_links import predict_links
from torch_geometric_reid.transforms import PairFeatures
from torch_geometric_reid.transforms.neighbor_table import neighbor_table
from torch_geometric_reid.transforms.pair_features import PAIR_FEATURES
from torch_geometric_reid.transforms.refine_pairs import REFINED_FEATURES

CONFIG = LinkConfig(k=6, num_edges=3, hidden_channels=8)
GROUP = 20


@pytest.fixture(scope='module')
def networks():
    torch.manual_seed(0)
    out = []
    for num_features in (len(PAIR_FEATURES), len(REFINED_FEATURES)):
        model = LinkGCN(num_features, CONFIG.hidden_channels)
        model(torch.randn(99, num_features), torch.empty(2, 0, dtype=torch.long))
        out.append(model.eval())
    return out


def groups(num_groups, seed):
    """Images of groups that have no direction in common."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(num_groups, GROUP, num_groups, 5)
    for group in range(num_groups):
        x[group, :, group] = torch.rand(GROUP, 5, generator=generator)
    return F.normalize(x.view(num_groups * GROUP, -1))


def prepare(x, networks):
    return prepare_tables(x, neighbor_table(x, CONFIG.k), *networks, CONFIG)


@settings(max_examples=25, deadline=None)
@given(
    added=st.integers(0, 8),
    removed=st.sets(st.integers(0, 49), max_size=8),
    seed=st.integers(0, 999),
)
def test_updated_tables_equal_new_ones(networks, added, removed, seed):
    x = groups(3, seed)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    before = prepare(x[:50], networks)
    kept = [i for i in range(50) if i not in removed]
    now = torch.cat([x[kept], x[50 : 50 + added]])
    position = torch.tensor(kept + [-1] * added)
    found = update_tables(before, now, position, *networks, CONFIG)
    for name, expected in prepare(now, networks)._asdict().items():
        value = getattr(found, name)
        if value.is_floating_point():
            assert torch.allclose(value, expected, atol=1e-5), name
        else:
            assert value.equal(expected), name


@pytest.mark.parametrize(
    ('before', 'kept', 'added'),
    [(5, 5, 1), (4, 4, 3), (12, 4, 0), (3, 2, 0), (7, 0, 5), (2, 2, 3), (8, 8, 9)],
)
def test_lists_of_another_length(networks, before, kept, added):
    x = groups(2, 0)[10:30]
    now = torch.cat([x[:kept], x[before : before + added]])
    position = torch.tensor([*range(kept), *[-1] * added])
    found = update_tables(
        prepare(x[:before], networks), now, position, *networks, CONFIG
    )
    expected = prepare(now, networks)
    assert found.neighbor.equal(expected.neighbor)
    assert torch.allclose(found.new_link, expected.new_link, atol=1e-5)


def test_links_of_some_nodes(networks):
    x = groups(2, 1)
    for mask in (None, torch.arange(len(x)) < 30):
        data = Data(x=x) if mask is None else Data(x=x, gallery_mask=mask)
        pairs = PairFeatures(CONFIG.k)(data)
        whole = predict_links(networks[0], pairs, CONFIG)
        node = torch.tensor([3, 28, 31, 39])
        some = predict_links(networks[0], pairs, CONFIG, node=node)
        assert torch.allclose(some, whole[node], atol=1e-6)


def test_links_that_stay_are_not_predicted_again(networks, monkeypatch):
    x = groups(4, 0)
    before = prepare(x[:-1], networks)
    nodes = []
    predict = link_tables.predict_links

    def spy(*args, node=None, **kwargs):
        nodes.append(node)
        return predict(*args, node=node, **kwargs)

    monkeypatch.setattr(link_tables, 'predict_links', spy)
    position = torch.arange(len(x))
    position[-1] = -1
    out = update_tables(before, x, position, *networks, CONFIG)
    first, second = nodes
    assert first.min() >= 3 * GROUP  # the group of the new image
    assert second is None
    assert out.link[: 3 * GROUP].equal(before.link[: 3 * GROUP])
    position = torch.arange(len(x) - 1)
    again = update_tables(out, x[:-1], position, *networks, CONFIG)
    assert torch.allclose(again.new_link, before.new_link, atol=1e-5)
