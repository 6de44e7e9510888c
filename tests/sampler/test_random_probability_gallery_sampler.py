import itertools

import lightning.pytorch as pl
import pytest
import torch
from scipy.stats import chisquare
from torch_geometric.data import Data
from torch_geometric.data.lightning import LightningNodeData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NodeSamplerInput

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, focal_loss
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.sampler.counter import counter_uniform
from torch_geometric_reid.transforms import CenterProbe, ConnectivityLabel


def draw(sampler, nodes):
    out = sampler.sample_from_nodes(
        NodeSamplerInput(input_id=None, node=torch.as_tensor(nodes))
    )
    size = len(nodes)
    start, num = out.num_sampled_nodes[:2]
    return out.node[start : start + num].view(size, -1)


def make_set(num=60, identities=6):
    x = torch.randn(num, 4, generator=torch.Generator().manual_seed(0))
    return knn(x, num - 1).index, torch.arange(num) % identities


def test_gamma_one_is_the_hard_sampler():
    neighbor, label = make_set()
    random = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3, gamma=1.0)
    hard = HardGallerySampler(neighbor, (8, 2), 3)
    assert draw(random, range(60)).equal(draw(hard, range(60)))


def test_draws_are_distinct_candidates_in_rank_order():
    neighbor, label = make_set()
    sampler = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3, gamma=2.3)
    for p, row in enumerate(draw(sampler, range(60)).tolist()):
        rank = [neighbor[p].tolist().index(g) for g in row]
        assert rank == sorted(set(rank))
        assert len(rank) == 8
        assert rank[-1] < 18  # floor(8 * 2.3)


@pytest.mark.parametrize('label', [torch.zeros(60), torch.arange(60)])
def test_one_sided_candidates_give_the_nearest(label):
    neighbor, _ = make_set()
    sampler = RandomProbabilityGallerySampler(neighbor, label.long(), (8, 2), 3)
    assert draw(sampler, range(60)).equal(neighbor[:, :8])


def test_inclusion_frequencies_equal_successive_draws():
    # One probe, six candidates of which two are positive, three are drawn.
    neighbor, label = make_set(7)
    label = torch.zeros(7, dtype=torch.long)
    candidates = neighbor[0, :6].tolist()
    label[candidates[1]] = label[candidates[4]] = 1
    label[0] = 1
    weight = {g: (1 / 4 if g in (candidates[1], candidates[4]) else 1 / 8)
              for g in candidates}  # fmt: skip

    probability = {}
    for sequence in itertools.permutations(candidates, 3):
        p, rest = 1.0, 1.0
        for g in sequence:
            p *= weight[g] / rest
            rest -= weight[g]
        key = frozenset(sequence)
        probability[key] = probability.get(key, 0) + p

    sampler = RandomProbabilityGallerySampler(neighbor, label, (3, 1), 1, gamma=2.0)
    count = dict.fromkeys(probability, 0)
    trials = 4000
    for epoch in range(trials):
        sampler.set_epoch(epoch)
        count[frozenset(draw(sampler, [0])[0].tolist())] += 1
    expected = [probability[key] * trials for key in count]
    assert chisquare(list(count.values()), expected).pvalue > 1e-3


def test_counter_uniform():
    u = counter_uniform(3, 5, torch.arange(200), 100)
    assert u.shape == (200, 100)
    assert 0 < u.min() < u.max() < 1
    assert chisquare(torch.histc(u.float(), 50, 0, 1).numpy()).pvalue > 1e-3
    assert counter_uniform(3, 5, torch.tensor([7]), 10).equal(u[7:8, :10])
    for other in [(4, 5), (3, 6), (5, 3)]:
        v = counter_uniform(*other, torch.arange(200), 100)
        assert abs(torch.corrcoef(torch.stack([u.view(-1), v.view(-1)]))[0, 1]) < 0.03
    assert counter_uniform(-1, 0, torch.arange(2), 2).unique().numel() == 4


def test_epochs_and_seeds_draw_anew():
    neighbor, label = make_set()
    sampler = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3)
    first = draw(sampler, range(60))
    assert draw(sampler, range(60)).equal(first)
    sampler.set_epoch(1)
    assert not draw(sampler, range(60)).equal(first)
    other = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3, seed=1)
    assert not draw(other, range(60)).equal(first)


def make_loader(sampler, label, num_workers, persistent=False):
    data = Data(
        x=torch.randn(60, 4, generator=torch.Generator().manual_seed(1)),
        y=label,
        edge_index=torch.empty(2, 0, dtype=torch.long),
    )
    return NodeLoader(
        data,
        sampler,
        batch_size=16,
        num_workers=num_workers,
        persistent_workers=persistent,
    )


def test_workers_give_the_same_batches_in_every_epoch():
    neighbor, label = make_set()
    epochs = []
    for num_workers, persistent in [(0, False), (2, False), (2, True)]:
        sampler = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3)
        loader = make_loader(sampler, label, num_workers, persistent)
        batches = []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            batches += [(b.n_id, b.edge_index, b.x) for b in loader]
        epochs.append(batches)
    assert len(epochs[0]) == 8
    for a, b, c in zip(*epochs, strict=True):
        assert all(u.equal(v) and u.equal(w) for u, v, w in zip(a, b, c, strict=True))
    assert not epochs[0][0][0].equal(epochs[0][4][0])


class LitECGCN(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = ECGCN(4, 8, num_layers=1)
        self.losses = []

    def training_step(self, batch):
        batch = ConnectivityLabel()(CenterProbe()(batch))
        logits = self.model(batch.x, batch.edge_index, batch.num_sampled_nodes)
        loss = focal_loss(logits, batch.edge_label)
        self.losses.append(float(loss))
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings('ignore')
def test_lightning_node_data_end_to_end(tmp_path):
    neighbor, label = make_set()
    sampler = RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3)
    data = Data(
        x=torch.randn(60, 4), y=label, edge_index=torch.empty(2, 0, dtype=torch.long)
    )
    datamodule = LightningNodeData(
        data,
        input_train_nodes=torch.arange(60),
        node_sampler=sampler,
        batch_size=20,
        eval_loader_kwargs={'num_neighbors': (4, 1)},
    )
    assert datamodule.eval_graph_sampler.num_neighbors == (4, 1)
    seeds = NodeSamplerInput(input_id=None, node=torch.arange(60))
    found = datamodule.eval_graph_sampler.sample_from_nodes(seeds)
    fresh = RandomProbabilityGallerySampler(
        sampler.neighbor, label, (4, 1), sampler.num_edges
    )
    expected = fresh.sample_from_nodes(seeds)
    assert found.node.equal(expected.node)
    assert found.row.equal(expected.row)
    model = LitECGCN()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, datamodule)
    assert len(model.losses) == 6


def test_rejects():
    neighbor, label = make_set()
    with pytest.raises(ValueError, match=r"'label' needs one id for each of 60.*\[9\]"):
        RandomProbabilityGallerySampler(neighbor, label[:9], (8, 2), 3)
    with pytest.raises(ValueError, match="'gamma' needs to be at least 1"):
        RandomProbabilityGallerySampler(neighbor, label, (8, 2), 3, gamma=0.5)
    with pytest.raises(ValueError, match=r"at least 12 columns for 'gamma=1.5'"):
        RandomProbabilityGallerySampler(neighbor[:, :10], label, (8, 2), 3)


def test_small_gallery():
    x, label = torch.randn(7, 3), torch.arange(7) % 2
    neighbor = knn(x, 6).index
    with pytest.warns(UserWarning, match='cut from 200 to 6'):
        sampler = RandomProbabilityGallerySampler(neighbor, label)
    assert draw(sampler, range(7)).equal(neighbor)
    sampler = RandomProbabilityGallerySampler(neighbor, label, (5, 1), 2, gamma=3.0)
    rows = draw(sampler, range(7))
    assert all(len(set(row)) == 5 for row in rows.tolist())


@pytest.mark.parametrize('self_loops', [True, False])
def test_one_training_image(self_loops):
    neighbor, label = torch.empty(1, 0, dtype=torch.long), torch.zeros(1).long()
    with pytest.warns(UserWarning, match='cut from 1 to 0'):
        sampler = RandomProbabilityGallerySampler(
            neighbor, label, (1, 1), 1, self_loops=self_loops
        )
    seed = NodeSamplerInput(input_id=None, node=torch.tensor([0]))
    out = sampler.sample_from_nodes(seed)
    assert out.node.tolist() == [0]
    assert out.row.numel() == int(self_loops)
