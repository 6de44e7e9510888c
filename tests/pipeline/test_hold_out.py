import pytest
import torch
from torch_geometric.data import Data

from torch_geometric_reid.pipeline import hold_out


def test_hold_out():
    y = torch.arange(60) % 10 * 3
    data = Data(x=torch.arange(60.0).view(60, 1), y=y, camera=torch.arange(60) % 4)
    train, query, gallery = hold_out(data, fraction=0.4, probe_every=3)
    assert len(set(query.y.tolist())) == 4
    assert set(query.y.tolist()) == set(gallery.y.tolist())
    assert set(train.y.tolist()) | set(query.y.tolist()) == set(y.tolist())
    assert not set(train.y.tolist()) & set(query.y.tolist())
    assert query.num_nodes == 4 * 2
    assert gallery.num_nodes == 4 * 4
    rows = torch.cat([train.x, query.x, gallery.x]).view(-1).sort().values
    assert rows.equal(data.x.view(-1))
    for split in (train, query, gallery):
        assert split.y.equal(y[split.x.view(-1).long()])

    again = hold_out(data, fraction=0.4, probe_every=3)
    assert again[0].x.equal(train.x)
    other = hold_out(data, fraction=0.4, probe_every=3, seed=1)
    assert not other[0].x.equal(train.x)


def test_hold_out_rejects():
    data = Data(y=torch.arange(10) // 2, num_nodes=10)
    with pytest.raises(ValueError, match="'fraction'.*between 0 and 1"):
        hold_out(data, fraction=1.0)
    with pytest.raises(ValueError, match='holds out 0 of 5'):
        hold_out(data, fraction=0.05)
    with pytest.raises(ValueError, match="'probe_every'"):
        hold_out(data, probe_every=0)
