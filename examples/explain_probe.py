r"""Why is this image ranked first? PyG's `Explainer` on one probe's sub-graph.

Of the edges that FA-GCN reads at a probe and its 50 nearest images, `GNNExplainer`
finds those that put the first image before the other 49. Trains on the embedded
features first (about 20 seconds). Printed with seed 0:

First for probe 20: image 62 (same identity). Its reasons:
0.91 the probe -> the probe
0.90 image 65 (same identity) -> image 62 (same identity)
0.88 image 66 (same identity) -> image 64 (same identity)
Its rank with the 10 best of 306 edges alone: 1, with all others: 2

An explanation is of what suffices, not of what is needed: `--probe 0` and `--probe 3`
stay first without their 10 best edges, as others take their part.
"""

import argparse

import torch
from torch import Tensor
from torch_geometric.explain import Explainer, GNNExplainer, ModelConfig
from torch_geometric.utils import k_hop_subgraph

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import FAGCN
from torch_geometric_reid.pipeline import FAConfig
from torch_geometric_reid.transforms import AffinityGraph

parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
parser.add_argument('--probe', type=int, default=20)
parser.add_argument('--steps', type=int, default=100, help='of FA-GCN')
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()


class WhichIsFirst(torch.nn.Module):
    r"""The ranking as a classification: candidates are classes, cosines logits."""

    def __init__(self, fa: FAGCN, probe: int, candidate: Tensor):
        super().__init__()
        self.fa, self.probe, self.candidate = fa, probe, candidate

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        z = self.fa.encode(x, edge_index, edge_weight)
        return (z[self.candidate] @ z[self.probe]).view(1, -1) / 0.07


# FA-GCN, trained as in the paper's recipe.
train, query, gallery = (Omniglot242(s)[0] for s in ('train', 'query', 'gallery'))
config = Config('paper', fa=FAConfig(steps=args.steps), ec=None, seed=args.seed)
fa = GraphReRanker(config).fit(train.x, train.y).fa.cpu()

# The graph of this probe and the gallery, and of it the edges into the probe and its
# candidates: one layer reads no others. The probe is the last node.
probe = query.subgraph(torch.tensor([args.probe]))
data = AffinityGraph(k=5)(gallery.concat(probe))
near = knn(gallery.x, 50, query=probe.x).index[0]
seeds = torch.cat([near, torch.tensor([gallery.num_nodes])])
edges = data.edge_index.as_tensor()
node, edge_index, place, mask = k_hop_subgraph(seeds, 1, edges, relabel_nodes=True)
read = torch.isin(edge_index[1], place)
x, edge_index, weight = data.x[node], edge_index[:, read], data.edge_weight[mask][read]
model = WhichIsFirst(fa, int(place[-1]), place[:-1]).eval()

torch.manual_seed(args.seed)
explainer = Explainer(
    model,
    GNNExplainer(epochs=200),
    explanation_type='model',
    edge_mask_type='object',
    model_config=ModelConfig('multiclass_classification', 'graph', return_type='raw'),
)
importance = explainer(x, edge_index, edge_weight=weight).edge_mask
order = importance.argsort(descending=True)


def describe(i: int) -> str:
    if node[i] == gallery.num_nodes:
        return 'the probe'
    same = 'same' if data.y[node[i]] == data.y[-1] else 'another'
    return f'image {int(node[i])} ({same} identity)'


def rank_of_first(kept: Tensor) -> int:
    with torch.no_grad():
        score = model(x, edge_index[:, kept], weight[kept]).view(-1)
    return 1 + int((score > score[first]).sum())


with torch.no_grad():
    first = int(model(x, edge_index, weight).argmax())
print(f'First for probe {args.probe}: {describe(int(place[first]))}. Its reasons:')
for edge in order[:3].tolist():
    source, to = edge_index[:, edge].tolist()
    print(f'{importance[edge]:.2f} {describe(source)} -> {describe(to)}')
best, others = rank_of_first(order[:10]), rank_of_first(order[10:])
print(f'Its rank with the 10 best of {order.numel()} edges alone: {best}', end='')
print(f', with all others: {others}')
