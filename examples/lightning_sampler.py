r"""EC-GCN by Lightning: the samplers in PyG's `LightningNodeData`.

The same job as `ec_gcn_loader.py` with Lightning's trainer in the place of the loops
(needs `pip install lightning`; about 20 seconds). mAP / Rank-1 with seed 0:

backbone: 70.0 / 85.8
backbone + EC-GCN: 72.9 / 85.4
"""

import argparse

import lightning as L
import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.lightning import LightningNodeData

from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.distance import fuse_distance, pairwise_distance
from torch_geometric_reid.knn import knn
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.nn import ECGCN, focal_loss
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import CenterProbe, ConnectivityLabel, FuseEdges

parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
parser.add_argument('--epochs', type=int, default=2)
parser.add_argument('--hidden_channels', type=int, default=256)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()
L.seed_everything(args.seed, verbose=False)
K1, K2, E = 50, 5, 5
NO_EDGES = torch.empty(2, 0, dtype=torch.long)  # without it, PyG drops sampled edges


class LitECGCN(L.LightningModule):
    def __init__(self, in_channels: int, hidden_channels: int):
        super().__init__()
        self.model = ECGCN(in_channels, hidden_channels, num_layers=2)

    def on_train_epoch_start(self) -> None:  # or every epoch draws the same images
        self.trainer.datamodule.graph_sampler.set_epoch(self.current_epoch)

    def forward(self, batch: Data) -> Tensor:
        return self.model(batch.x, batch.edge_index, batch.num_sampled_nodes)

    def training_step(self, batch: Data) -> Tensor:
        return focal_loss(self(batch), batch.edge_label)

    def predict_step(self, batch: Data) -> Tensor:  # the probability of no link
        return self(batch).softmax(dim=1)[:, 0].view(batch.num_sampled_nodes[0], -1)

    def configure_optimizers(self) -> tuple[list, list]:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)]


train = Omniglot242('train')[0]
query, gallery = Omniglot242('query')[0], Omniglot242('gallery')[0]
num_gallery, num_query = gallery.num_nodes, query.num_nodes
nearest = knn(gallery.x, K1, query=query.x).index

# A data module holds one graph, so training and test images have one each.
for_training = LightningNodeData(
    Data(x=train.x, y=train.y, edge_index=NO_EDGES),
    input_train_nodes=torch.arange(train.num_nodes),
    node_sampler=RandomProbabilityGallerySampler(
        knn(train.x, int(1.5 * K1)).index, train.y, (K1, K2), E, seed=args.seed
    ),
    transform=T.Compose([CenterProbe(), ConnectivityLabel(), FuseEdges()]),
    batch_size=16,
)
for_ranking = LightningNodeData(
    Data(x=torch.cat([gallery.x, query.x]), edge_index=NO_EDGES),
    input_pred_nodes=torch.arange(num_gallery, num_gallery + num_query),
    node_sampler=HardGallerySampler(
        knn(gallery.x, E).index, (K1, K2), E, probe_neighbor=nearest
    ),
    transform=T.Compose([CenterProbe(), FuseEdges()]),
    batch_size=16,
)
model = LitECGCN(train.num_features, args.hidden_channels)
quiet = {'logger': False, 'enable_checkpointing': False, 'enable_model_summary': False}
trainer = L.Trainer(max_epochs=args.epochs, enable_progress_bar=False, **quiet)
trainer.fit(model, for_training)
no_link = torch.cat(trainer.predict(model, for_ranking))

distance = pairwise_distance(query.x, gallery.x)
fused = fuse_distance(distance, nearest, no_link, weight=0.4)
for name, ranking in [('backbone', distance), ('backbone + EC-GCN', fused)]:
    out = evaluate(ranking, query.y, gallery.y, query.camera, gallery.camera)
    print(f'{name}: {100 * out.mAP:.1f} / {100 * out.rank(1):.1f}')
