import pickle
from pathlib import Path

import pytest
import torch
from torch_geometric.loader import DataLoader

import torch_geometric_reid.datasets
from torch_geometric_reid.datasets import Omniglot242

SPLITS = ['train', 'query', 'gallery']


@pytest.fixture(scope='module')
def datasets():
    return {split: Omniglot242(split) for split in SPLITS}


@pytest.mark.parametrize(
    ('split', 'num_images', 'num_identities'),
    [('train', 2560, 128), ('query', 570, 114), ('gallery', 1710, 114)],
)
def test_statistics(datasets, split, num_images, num_identities):
    dataset = datasets[split]
    assert len(dataset) == 1
    assert dataset.num_features == 128
    data = dataset[0]
    assert set(data.keys()) == {'x', 'y', 'camera'}
    assert data.x.shape == (num_images, 128)
    assert data.x.dtype == torch.float32
    assert data.num_nodes == num_images
    for ids in [data.y, data.camera]:
        assert ids.shape == (num_images,)
        assert ids.dtype == torch.int64
    assert data.y.unique().numel() == num_identities
    assert data.camera.unique().tolist() == list(range(20))
    assert torch.allclose(data.x.norm(dim=1), torch.ones(num_images), atol=1e-6)


def test_protocol(datasets):
    train, query, gallery = (datasets[split][0] for split in SPLITS)
    assert not torch.isin(train.y, query.y).any()
    assert query.y.unique().equal(gallery.y.unique())
    images = torch.cat(
        [torch.stack([data.y, data.camera], 1) for data in (train, query, gallery)]
    )
    assert images.unique(dim=0).size(0) == 4840  # each writer once per character


def test_baseline(datasets, naive_evaluation):
    mean_ap, rank1 = naive_evaluation(datasets['query'][0], datasets['gallery'][0])
    assert mean_ap == pytest.approx(70.0, abs=0.1)
    assert rank1 == pytest.approx(85.8, abs=0.1)


@pytest.mark.parametrize('split', SPLITS)
def test_images(datasets, split):
    dataset = datasets[split]
    images = dataset.images
    assert images.shape == (dataset[0].num_nodes, 48, 48)
    assert images.dtype == torch.bool
    ink = images.float().mean(dim=(1, 2))
    assert 0.05 < ink.mean() < 0.15
    assert ink.min() > 0
    assert ink.max() < 0.5
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.float().mean() < 0.01  # paper, not ink
    for i in [0, 17, -1]:
        assert dataset.image(i).equal(images[i])
    with pytest.raises(IndexError):
        dataset.image(len(images))


def test_images_of_an_identity_look_alike(datasets):
    dataset = datasets['train']
    images = torch.nn.functional.avg_pool2d(dataset.images[:, None].float(), 8)
    images = torch.nn.functional.normalize(images.flatten(1) - images.mean())
    same = dataset.y.view(-1, 1) == dataset.y
    similarity = images @ images.t()
    assert similarity[same].mean() > similarity[~same].mean() + 0.1


def test_alphabets(datasets):
    alphabets = {split: set(datasets[split].alphabet) for split in SPLITS}
    assert alphabets['train'] == {'Early_Aramaic', 'Greek', 'Korean', 'Sanskrit'}
    assert alphabets['query'] == alphabets['gallery']
    assert not alphabets['train'] & alphabets['query']
    for split in SPLITS:
        of_identity = {}
        for identity, alphabet in zip(
            datasets[split].y.tolist(), datasets[split].alphabet, strict=True
        ):
            assert of_identity.setdefault(identity, alphabet) == alphabet


def test_as_a_data_set_of_pyg(datasets):
    def transform(data):
        data.x = 2 * data.x
        return data

    dataset = Omniglot242('query', transform=transform)
    assert dataset[0].x.equal(2 * datasets['query'][0].x)
    assert dataset[0].x.equal(dataset[0].x)
    batch = next(iter(DataLoader(dataset)))
    assert batch.x.shape == (570, 128)
    assert pickle.loads(pickle.dumps(datasets['query']))[0].y.equal(dataset.y)
    assert repr(dataset) == 'Omniglot242()'


def test_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Omniglot242()[0]
    assert not list(tmp_path.iterdir())


def test_rejects_an_unknown_split():
    with pytest.raises(
        ValueError, match="'split'.*'train', 'query', 'gallery'.*'test'"
    ):
        Omniglot242('test')


def test_ships_its_licence():
    folder = Path(torch_geometric_reid.datasets.__file__).parent
    text = (folder / 'OMNIGLOT_LICENSE').read_text()
    assert 'Copyright (c) 2015 Brenden Lake' in text
    assert (folder / 'omniglot242.npz').stat().st_size < 2_000_000
