r"""The layer of FA-GCN in a model of your own.

`AffinityGraph` builds the graph, `FAGCNConv` reads it as any PyG layer does. Trains on
the embedded features and ranks in the joint graph of probes and gallery (about 15
seconds). mAP / Rank-1 with seed 0:

backbone: 70.0 / 85.8
backbone + FA layer: 77.4 / 85.3
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.nn import FAGCNConv, supervised_contrastive_loss
from torch_geometric_reid.transforms import AffinityGraph

parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
parser.add_argument('--steps', type=int, default=100)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)


class ResidualFA(torch.nn.Module):
    r"""One aggregation whose result is added to the features that came in."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.conv = FAGCNConv(channels, channels)
        self.classifier = torch.nn.Linear(channels, num_classes)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return F.normalize(x + self.conv(x, edge_index, edge_weight))


# Training: the whole training split is one graph. Its edge weights are rows of
# D^-1 (A + I), self-loops included, so that the layer has nothing to normalise.
affinity = AffinityGraph(k=5)
train = affinity(Omniglot242('train')[0])
label = train.y.unique(return_inverse=True)[1]
model = ResidualFA(train.num_features, int(label.max()) + 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
for _ in range(args.steps):
    optimizer.zero_grad()
    z = model(train.x, train.edge_index, train.edge_weight)
    loss = F.cross_entropy(model.classifier(z), label)
    loss = loss + supervised_contrastive_loss(z, label)
    loss.backward()
    optimizer.step()

# Testing: gallery and probes are one graph, without identities. Probes are each
# other's references there, which is another task than ranking each by itself.
gallery, query = Omniglot242('gallery')[0], Omniglot242('query')[0]
joint = affinity(gallery.concat(query))
with torch.no_grad():
    z = model(joint.x, joint.edge_index, joint.edge_weight)
new_gallery, new_query = z.split([gallery.num_nodes, query.num_nodes])

for name, q, g in [
    ('backbone', query.x, gallery.x),
    ('backbone + FA layer', new_query, new_gallery),
]:
    out = evaluate(
        pairwise_distance(q, g), query.y, gallery.y, query.camera, gallery.camera
    )
    print(f'{name}: {100 * out.mAP:.1f} / {100 * out.rank(1):.1f}')
