"""What an image data set keeps on disk."""

import pytest
import torch
from picture_sets import MARKET, save_features, save_pictures
from torch_geometric.data import Data

from torch_geometric_reid.datasets import Market1501
from torch_geometric_reid.transforms import AffinityGraph


def test_reads_the_processed_file(root):
    names = sorted(MARKET['query'])
    x = save_features(root / 'query.npz', names)
    first = Market1501(root, 'query')
    (path,) = first.processed_paths
    assert path == str(root / 'processed' / 'query-query.npz.pt')
    assert first.raw_paths == [str(root / 'query')]
    assert torch.load(path, weights_only=True)['names'] == names
    (root / 'query').rename(root / 'away')
    second = Market1501(root, 'query')
    assert second.names == names
    for key in ('x', 'y', 'camera'):
        assert second[0][key].equal(first[0][key])
    assert second[0].x.allclose(x)
    with pytest.raises(FileNotFoundError, match="'query'"):
        Market1501(root, 'query', force_reload=True)


def test_what_makes_the_processed_file_anew(root):
    names = sorted(MARKET['query'])
    save_features(root / 'query.npz', names)
    (path,) = Market1501(root, 'query').processed_paths
    for content in (b'', b'damaged', (root / 'query.npz').read_bytes()):
        with open(path, 'wb') as file:
            file.write(content)
        assert Market1501(root, 'query').names == names
        assert torch.load(path, weights_only=True)['names'] == names
    torch.save(Data(x=torch.ones(1)), path)
    assert Market1501(root, 'query').names == names

    x = save_features(root / 'query.npz', [*names, names[0]])
    with pytest.raises(ValueError, match='several'):
        Market1501(root, 'query')
    x = save_features(root / 'query.npz', [f'query/{name}' for name in names[::-1]])
    assert Market1501(root, 'query')[0].x.allclose(x.flip(0))

    save_pictures(root / 'query', ['0009_c1s1_000451_03.jpg'])
    assert len(Market1501(root, 'query').names) == 2
    with pytest.raises(ValueError, match="no features of '0009_c1s1_000451_03.jpg'"):
        Market1501(root, 'query', force_reload=True)


def test_pre_transform(root):
    names = sorted(MARKET['bounding_box_test'])
    save_features(root / 'gallery.npz', names)
    plain = Market1501(root, 'gallery')
    graph = Market1501(root, 'gallery', pre_transform=AffinityGraph(k=2))
    expected = AffinityGraph(k=2)(plain[0])
    (root / 'bounding_box_test').rename(root / 'away')
    again = Market1501(root, 'gallery', pre_transform=AffinityGraph(k=2))
    for dataset in (graph, again):
        assert dataset[0].edge_index.equal(expected.edge_index)
        assert dataset[0].edge_weight.equal(expected.edge_weight)
    with pytest.raises(FileNotFoundError):  # another one is not read from disk
        Market1501(root, 'gallery', pre_transform=AffinityGraph(k=1))


def test_pre_transform_that_would_need_pickle(root):
    class Odd:
        pass

    def add_object(data):
        data.odd = Odd
        return data

    save_features(root / 'query.npz', MARKET['query'])
    with pytest.raises((TypeError, AttributeError), match='pre_transform|pickle'):
        Market1501(root, 'query', pre_transform=add_object)
    assert not list((root / 'processed').glob('*'))


def test_a_folder_that_cannot_be_written(root, monkeypatch):
    def refuse(path, write):
        raise PermissionError('read-only')

    save_features(root / 'query.npz', MARKET['query'])
    monkeypatch.setattr(
        'torch_geometric_reid.datasets.image_dataset.write_atomically', refuse
    )
    with pytest.warns(UserWarning, match='cannot be kept: read-only'):
        dataset = Market1501(root, 'query')
    assert dataset[0].y.tolist() == [1, 3]
