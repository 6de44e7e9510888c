"""The jobs that are timed, ours and the plain ones.

Each makes what it needs from the features of a case, and returns a function that does
the work and gives its result, with the number of units (probes, steps) in it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import faiss
import plain
import rerank as reranking
import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from evaluate import make_case as make_distances
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import NodeSamplerInput, SamplerOutput

from torch_geometric_reid import rerank
from torch_geometric_reid.knn import knn
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.nn import (
    ECGCN,
    FAGCN,
    focal_loss,
    supervised_contrastive_loss,
)
from torch_geometric_reid.pipeline import ECConfig
from torch_geometric_reid.pipeline.connectivity import score
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import ConnectivityLabel, FuseEdges

K1, K2, EDGES = 200, 10, 10
CAPACITY = 1 + K1 + K1 * K2
BATCH, HIDDEN, FA_DIM = 16, 512, 2048
PROBES = 128  # that inference is timed with


class Case(NamedTuple):
    query: Tensor
    gallery: Tensor
    y: Tensor  # the identities of the gallery, which the trainings take
    neighbor: Tensor  # its nearest others, in their order


Work = Callable[[], tuple[int, Any]]


def _sample(case: Case) -> SamplerOutput:
    sampler = HardGallerySampler(case.neighbor, (K1, K2), EDGES)
    return sampler.sample_from_nodes(NodeSamplerInput(None, torch.arange(BATCH)))


def sampler(case: Case, name: str) -> Work:
    num = 512
    ours = {
        'HGS': HardGallerySampler(case.neighbor, (K1, K2), EDGES),
        'RPGS': RandomProbabilityGallerySampler(case.neighbor, case.y, (K1, K2), EDGES),
    }[name]

    def work() -> tuple[int, Any]:
        for probe in torch.arange(num).split(BATCH):
            out = ours.sample_from_nodes(NodeSamplerInput(None, probe))
        # Draws of RPGS are others than those of the plain form.
        size = [out.node.numel(), out.row.numel()] if name == 'HGS' else None
        return num, size

    return work


def sampler_plain(case: Case) -> Work:
    neighbor, num = case.neighbor[:, :K1].tolist(), 64

    def work() -> tuple[int, Any]:
        # The last batch is the one whose size the other jobs give.
        nodes = edges = 0
        for probe in range(512 - num, 512):
            part = plain.sample(neighbor, probe, K1, K2, EDGES)
            if probe >= 512 - BATCH:
                nodes, edges = nodes + len(part[0]), edges + len(part[1])
        return num, [nodes, edges]

    return work


def _model(case: Case, num_layers: int) -> ECGCN:
    torch.manual_seed(0)
    model = ECGCN(HIDDEN, HIDDEN, num_layers)
    for norm in model.norms:
        norm.momentum = None  # statistics of the only batch that it sees
    with torch.no_grad():
        plain.forward(model, *plain.pad(case.gallery, _sample(case), CAPACITY), K1)
    return model.eval()


def ec_inference(case: Case, num_layers: int) -> Work:
    num, model = PROBES, _model(case, num_layers)
    config = ECConfig((K1, K2), EDGES, hidden_channels=HIDDEN)
    ours = HardGallerySampler(case.neighbor, (K1, K2), EDGES)

    def work() -> tuple[int, Any]:
        with torch.no_grad():
            return num, score(model, case.gallery, ours, torch.arange(num), config)[
                :BATCH
            ]

    return work


def ec_inference_plain(case: Case, num_layers: int) -> Work:
    model = _model(case, num_layers)
    sample = _sample(case)

    def work() -> tuple[int, Any]:
        with torch.no_grad():
            batch = plain.pad(case.gallery, sample, CAPACITY)
            out = plain.forward(model, *batch, K1)
        return BATCH, out.softmax(dim=1)[:, 0].view(BATCH, K1)

    return work


def _training(model: ECGCN) -> Callable[[Tensor, Tensor], None]:
    optimizer = torch.optim.SGD(
        model.train().parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )

    def step(logits: Tensor, label: Tensor) -> None:
        optimizer.zero_grad()
        focal_loss(logits, label).backward()
        optimizer.step()

    return step


def ec_training(case: Case, num_layers: int) -> Work:
    model, steps = _model(case, num_layers), 6
    step = _training(model)
    loader = NodeLoader(
        Data(
            y=case.y,
            edge_index=torch.empty(2, 0, dtype=torch.long),
            num_nodes=case.y.numel(),
        ),
        RandomProbabilityGallerySampler(case.neighbor, case.y, (K1, K2), EDGES),
        input_nodes=torch.arange(steps * BATCH),
        transform=T.Compose([ConnectivityLabel(), FuseEdges()]),
        batch_size=BATCH,
    )

    def work() -> tuple[int, Any]:
        for batch in loader:
            logits = model.forward_nodes(
                case.gallery,
                batch.n_id,
                batch.batch,
                batch.edge_index,
                batch.num_sampled_nodes,
            )
            step(logits, batch.edge_label)
        return steps * BATCH, None

    return work


def ec_training_plain(case: Case, num_layers: int) -> Work:
    model = _model(case, num_layers)
    step = _training(model)
    sample = _sample(case)
    near = sample.node[BATCH : BATCH + BATCH * K1].view(BATCH, K1)
    label = case.y[near] == case.y[sample.node[:BATCH]].view(-1, 1)

    def work() -> tuple[int, Any]:
        batch = plain.pad(case.gallery, sample, CAPACITY)
        step(plain.forward(model, *batch, K1), label.long().view(-1))
        return BATCH, None

    return work


def fa_training(case: Case, loss: Callable[[Tensor, Tensor], Tensor]) -> Work:
    torch.manual_seed(0)
    num = case.gallery.size(0)
    x = F.normalize(case.gallery @ torch.randn(case.gallery.size(1), FA_DIM))
    gathered = F.normalize(x + 0.01 * torch.randn(num, FA_DIM))  # A~ X, see FAGCN
    y = case.y.unique(return_inverse=True)[1]
    model = FAGCN(FA_DIM, FA_DIM, num_classes=int(y.max()) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def work() -> tuple[int, Any]:
        optimizer.zero_grad()
        z = model.embed(x, torch.empty(2, 0, dtype=torch.long), gathered=gathered)
        out = F.cross_entropy(model.classify(z), y) + loss(z, y)
        out.backward()
        optimizer.step()
        return 1, [out.item()]

    return work


def neighbors(case: Case, backend: str | None) -> Work:
    def work() -> tuple[int, Any]:
        return 1, knn(case.gallery, K1, backend=backend).index[:, :20]

    return work


def faiss_flat(case: Case) -> Work:
    def work() -> tuple[int, Any]:
        index = faiss.IndexFlatIP(case.gallery.size(1))
        index.add(case.gallery.numpy())
        index.search(case.gallery.numpy(), K1 + 1)
        return 1, None

    return work


def k_reciprocal(case: Case) -> Work:
    return lambda: (1, rerank.k_reciprocal(case.query, case.gallery))


def peer_k_reciprocal(case: Case) -> Work:
    work = reranking.from_distance('torchreid', case.query, case.gallery)
    return lambda: (1, work())


def evaluation(case: Case) -> Work:
    arrays = make_distances(case.query.size(0), case.gallery.size(0), 0.7)

    def work() -> tuple[int, Any]:
        return 1, [evaluate(*arrays).mAP]

    return work


def argsort(case: Case) -> Work:
    distance = make_distances(case.query.size(0), case.gallery.size(0), 0.7)[0].numpy()

    def work() -> tuple[int, Any]:
        distance.argsort(axis=1)
        return 1, None

    return work


JOBS: dict[str, Callable[[Case], Work]] = {
    'sampler HGS': lambda case: sampler(case, 'HGS'),
    'sampler RPGS': lambda case: sampler(case, 'RPGS'),
    'sampler, plain': sampler_plain,
    'EC-GCN inference, 4 layers': lambda case: ec_inference(case, 4),
    'EC-GCN inference, 4 layers, plain': lambda case: ec_inference_plain(case, 4),
    'EC-GCN inference, 5 layers': lambda case: ec_inference(case, 5),
    'EC-GCN inference, 5 layers, plain': lambda case: ec_inference_plain(case, 5),
    'EC-GCN training, 4 layers': lambda case: ec_training(case, 4),
    'EC-GCN training, 4 layers, plain': lambda case: ec_training_plain(case, 4),
    'FA-GCN training': lambda case: fa_training(case, supervised_contrastive_loss),
    'FA-GCN training, plain': lambda case: fa_training(case, plain.contrastive),
    'kNN': lambda case: neighbors(case, None),
    'kNN, PyTorch alone': lambda case: neighbors(case, 'torch'),
    'kNN, bare Faiss': faiss_flat,
    'k-reciprocal': k_reciprocal,
    'k-reciprocal, torchreid': peer_k_reciprocal,
    'evaluation': evaluation,
    'evaluation, argsort': argsort,
}
