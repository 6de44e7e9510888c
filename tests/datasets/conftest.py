import numpy as np
import pytest
import torch
from picture_sets import MARKET, save_pictures
from PIL import Image


@pytest.fixture(scope='session')
def naive_evaluation():
    def evaluate(query, gallery):
        """MAP and Rank-1 in percent, one probe and one gallery image at a time."""
        average_precisions, firsts = [], []
        score = query.x.double() @ gallery.x.double().t()
        gallery_ids = list(
            zip(gallery.y.tolist(), gallery.camera.tolist(), strict=True)
        )
        for i, own in enumerate(
            zip(query.y.tolist(), query.camera.tolist(), strict=True)
        ):
            order = score[i].argsort(descending=True, stable=True).tolist()
            hits, precisions, place, first = 0, [], 0, None
            for j in order:
                if gallery_ids[j] == own or gallery_ids[j][0] == -1:
                    continue
                place += 1
                hit = gallery_ids[j][0] == own[0]
                first = hit if first is None else first
                if hit:
                    hits += 1
                    precisions.append(hits / place)
            average_precisions.append(sum(precisions) / hits)
            firsts.append(first)
        num = len(firsts)
        return 100 * sum(average_precisions) / num, 100 * sum(firsts) / num

    return evaluate


@pytest.fixture
def arrays():
    """Five rows in the order of a file: features, ids, cameras, file names."""
    generator = torch.Generator().manual_seed(0)
    return {
        'feature': torch.randn(5, 4, generator=generator).numpy(),
        'id': torch.tensor([7, 7, -1, 0, 12]).numpy(),
        'camera': torch.tensor([0, 1, 2, 0, 1]).numpy(),
        'name': ['a.jpg', 'b/ü.jpg', 'c.jpg', 'd.jpg', 'e.jpg'],
    }


@pytest.fixture
def root(tmp_path):
    """Market-1501 as it is published, with files that are no pictures."""
    for folder, names in MARKET.items():
        save_pictures(tmp_path / folder, names)
    (tmp_path / 'query' / 'Thumbs.db').write_bytes(b'x')
    (tmp_path / 'query' / '._0003_c2s1_000151_00.jpg').write_bytes(b'x')
    (tmp_path / 'bounding_box_test' / 'readme.txt').write_text('x')
    return tmp_path


@pytest.fixture
def paths(tmp_path):
    """Forty pictures of noise, of three heights."""
    generator = np.random.default_rng(0)
    folder = tmp_path / 'query'
    folder.mkdir()
    found = []
    for i in range(40):
        pixels = generator.integers(0, 256, (6 + i % 3, 5, 3), dtype='uint8')
        found.append(folder / f'{i:04}_c{i % 6 + 1}s1_000001_00.png')
        Image.fromarray(pixels).save(found[-1])
    return found
