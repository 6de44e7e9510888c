r"""Feature sets whose held-out identities no backbone has seen.

    python benchmarks/unseen.py FOLDER
    for set in FOLDER/*.npz; do python benchmarks/links_ablation.py $set --seeds 1; done

The training images of Omniglot242 show four alphabets. For each two of them a small
network is trained from scratch on the images of the other two, and all four are
described by it: the two that it has seen are the training images, every fourth image
of a character of the others is a probe, the rest is gallery. No test identity is used.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.metrics import evaluate

DIM, WIDTH, SIZE = 128, 64, 48
EPOCHS, BATCH, SCALE, PROBE_EVERY = 40, 64, 16.0, 4
TURN, SHEAR, GROWTH, SHIFT = 0.2, 0.2, 0.15, 0.1


def make_network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (1, WIDTH, WIDTH, WIDTH):
        layers += [
            nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
        ]
    flat = WIDTH * (SIZE // 16) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, DIM))


def distort(image: Tensor) -> Tensor:
    """Returns images that are turned, sheared, scaled and moved a little."""
    num = image.size(0)
    turn, shear, growth = (
        scale * torch.randn(num, 1) for scale in (TURN, SHEAR, GROWTH)
    )
    size, (sin, cos) = growth.exp(), (turn.sin(), turn.cos())
    shift = SHIFT * torch.randn(num, 2)
    first = torch.cat([cos * size, (shear - sin) * size, shift[:, :1]], dim=1)
    second = torch.cat([sin * size, cos * size, shift[:, 1:]], dim=1)
    grid = F.affine_grid(
        torch.stack([first, second], dim=1), list(image.shape), align_corners=False
    )
    return F.grid_sample(image, grid, align_corners=False)


def train(image: Tensor, y: Tensor) -> nn.Sequential:
    torch.manual_seed(0)
    network, center = make_network(), nn.Parameter(torch.randn(int(y.max()) + 1, DIM))
    steps = EPOCHS * (len(y) // BATCH)
    optimizer = torch.optim.AdamW([*network.parameters(), center], 2e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(y)).split(BATCH)[: len(y) // BATCH]:
            optimizer.zero_grad()
            feature = F.normalize(network(distort(image[batch])))
            logit = SCALE * feature @ F.normalize(center).t()
            F.cross_entropy(logit, y[batch]).backward()
            optimizer.step()
            scheduler.step()
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('folder', type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    dataset = Omniglot242('train')
    data, alphabet = dataset[0], np.array(dataset.alphabet)
    image = dataset.images.float().unsqueeze(1)
    for held_out in itertools.combinations(sorted(set(dataset.alphabet)), 2):
        away = torch.from_numpy(np.isin(alphabet, held_out))
        network = train(image[~away], data.y[~away].unique(return_inverse=True)[1])
        with torch.no_grad():
            x = F.normalize(torch.cat([network(part) for part in image.split(BATCH)]))
        split = torch.zeros(len(x), dtype=torch.int8)
        for identity in data.y[away].unique():
            place = (data.y == identity).nonzero().view(-1)
            split[place] = 2
            split[place[::PROBE_EVERY]] = 1
        name = '_'.join(held_out).lower()
        np.savez(
            args.folder / f'{name}.npz',
            feature=x.numpy(),
            id=data.y.numpy(),
            camera=data.camera.numpy(),
            split=split.numpy(),
        )
        query, gallery = split == 1, split == 2
        distance = 1 - x[query] @ x[gallery].t()
        result = evaluate(
            distance,
            data.y[query],
            data.y[gallery],
            data.camera[query],
            data.camera[gallery],
        )
        print(f'{name}: {100 * result.mAP:.1f} mAP of the plain cosine', flush=True)


if __name__ == '__main__':
    main()
