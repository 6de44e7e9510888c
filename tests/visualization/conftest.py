import pytest
import torch

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.pipeline import Trust, judge
from torch_geometric_reid.pipeline.judged import PLAIN
from torch_geometric_reid.visualization import (
    ProbeCard,
    RankedList,
    plot_cmc,
    write_report,
    write_run_report,
)

SPLITS = ('query', 'gallery')
HOSTILE = "\"><script>document.title = 'hostile'</script>&amp;"


@pytest.fixture
def random_probe():
    """Returns a probe with ties, junk and images by its own camera."""

    def draw(seed, size=40, num_values=5):
        generator = torch.Generator().manual_seed(seed)

        def integers(low, high, *shape):
            return torch.randint(low, high, shape, generator=generator)

        distance = integers(0, num_values, size).float() / 4
        gallery_y = integers(-1, 4, size)
        gallery_camera = integers(0, 3, size)
        y, camera = int(integers(0, 4, 1)), int(integers(0, 3, 1))
        return distance, y, gallery_y, camera, gallery_camera

    return draw


@pytest.fixture
def write_example():
    """Returns a function that writes a page of three probes with hostile names."""

    def write(path):
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(9, 8, 6, generator=generator)
        colours = (255 * torch.rand(8, 6, 3, generator=generator)).to(torch.uint8)
        link = torch.tensor([0.5, float('nan')])
        match = torch.tensor([True, False])

        def card(name, ap, probe_image=colours):
            image = torch.randperm(9, generator=generator)[:2]
            lists = {
                'cosine': RankedList(image, image / 10, match, None),
                '<i>graph</i>': RankedList(image.flip(0), image / 10, ~match, link),
            }
            names = [f'{i} {HOSTILE}' for i in range(9)]
            return ProbeCard(
                name, ap, lists, probe_image, lambda row: images[row], names
            )

        rows = [
            {'method': HOSTILE, 'mAP': 9.5, 'num': 3},
            {'method': 'b', 'mAP': 10.25},
            {'method': 'a', 'mAP': float('nan'), 'num': 20},
        ]
        figures = {f'CMC {HOSTILE}': plot_cmc({'cosine': torch.linspace(0.5, 1, 4)})}
        probes = [card('good', 0.9), card(HOSTILE, 0.125), card('bad', 0.2, None)]
        write_report(path, f'Title {HOSTILE}', rows, figures, probes, f'Note {HOSTILE}')

    return write


@pytest.fixture
def write_run():
    """Returns a function that writes the page of a run, and what is on it."""

    def write(path, calibrated=True):
        query, gallery = (FakeReID(s, num_identities=20)[0] for s in SPLITS)
        other = [FakeReID(s, num_identities=20, seed=1)[0] for s in SPLITS]
        distances = {name: rank(query.x, gallery.x) for name, rank in PLAIN.items()}
        trusts = None
        if calibrated:
            trusts = {name: Trust.fit(rank, *other) for name, rank in PLAIN.items()}
        judged = judge(distances, query, gallery, trusts)
        rows = [{'method': HOSTILE, 'mAP': 70.0}, {'method': 'links', 'mAP': 82.4}]
        write_run_report(
            path, 'A run', rows, distances, query, gallery, judged, 'joint graph'
        )
        return judged

    return write
