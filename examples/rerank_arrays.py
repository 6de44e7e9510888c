r"""Re-rank NumPy arrays of your own, and see whether it was worth it.

The embedded features stand in for yours (about a minute). mAP / Rank-1 with seed 0:

backbone: 70.0 / 85.8
query expansion: 79.4 / 86.3
k-reciprocal: 80.5 / 84.2
learned links: 82.6 / 86.3
"""

import argparse

import numpy as np

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline import LinkConfig
from torch_geometric_reid.rerank import k_reciprocal, query_expansion

parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
parser.add_argument('--num_probes', type=int, default=12_000)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()


def arrays(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Features [N, d], identities [N] and cameras [N]: put your own here."""
    data = Omniglot242(split)[0]
    return data.x.numpy(), data.y.numpy(), data.camera.numpy()


train_x, train_id, _ = arrays('train')
query_x, query_id, query_camera = arrays('query')
gallery_x, gallery_id, gallery_camera = arrays('gallery')

# Identities of the training images only. The gallery, without labels, tells how hard
# training features have to be made. Vectors need not be of unit length.
config = Config(links=LinkConfig(num_probes=args.num_probes), seed=args.seed)
ranker = GraphReRanker(config).fit(train_x, train_id, gallery_x)

# Each is a matrix [Q, G], smaller for images that rank higher. The first is what the
# backbone gives, the next two need no training.
for name, distance in [
    ('backbone', pairwise_distance(query_x, gallery_x)),
    ('query expansion', query_expansion(query_x, gallery_x, database=True)),
    ('k-reciprocal', k_reciprocal(query_x, gallery_x)),
    ('learned links', ranker.rank(query_x, gallery_x)),
]:
    out = evaluate(distance, query_id, gallery_id, query_camera, gallery_camera)
    print(f'{name}: {100 * out.mAP:.1f} / {100 * out.rank(1):.1f}')

best = distance.argsort(dim=1, stable=True)[0, :5]
print(f'Probe 0 looks most like gallery images {best.tolist()}')
