from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch_geometric.loader import RandomNodeLoader

import torch_geometric_reid.datasets
from torch_geometric_reid.datasets import FeatureDataset, Omniglot242, load_features


def save(path, arrays):
    """Writes arrays (and lists of text, where the format has them)."""
    suffix = path.suffix
    if suffix == '.npz':
        np.savez(path, **arrays)
    elif suffix in ('.pt', '.pth'):
        torch.save(
            {
                key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                for key, value in arrays.items()
            },
            path,
        )
    elif suffix == '.mat':
        scipy.io.savemat(path, arrays)
    elif suffix == '.safetensors':
        save_file({k: v for k, v in arrays.items() if isinstance(v, np.ndarray)}, path)
    else:
        with h5py.File(path, 'w') as file:
            for key, value in arrays.items():
                file[key] = value
    return path


@pytest.mark.parametrize(
    'suffix', ['.npz', '.pt', '.pth', '.mat', '.h5', '.hdf5', '.safetensors']
)
def test_round_trip(tmp_path, arrays, suffix):
    path = save(tmp_path / f'a{suffix}', arrays)
    dataset = FeatureDataset(path)
    assert len(dataset) == 1
    data = dataset[0]
    assert set(data.keys()) == {'x', 'y', 'camera'}
    rows = [0, 1, 3, 4]  # without the junk
    x = torch.nn.functional.normalize(torch.from_numpy(arrays['feature'][rows]))
    assert data.x.dtype == torch.float32
    assert torch.allclose(data.x, x)
    assert data.y.dtype == data.camera.dtype == torch.int64
    assert data.y.tolist() == [7, 7, 0, 12]
    assert data.camera.tolist() == [0, 1, 0, 1]
    if suffix == '.safetensors':
        assert dataset.names is None
    else:
        assert dataset.names == [arrays['name'][i] for i in rows]

    dataset = FeatureDataset(str(path), keep_junk=True, normalize=False)
    assert np.array_equal(dataset[0].x, arrays['feature'])
    assert dataset[0].y.tolist() == [7, 7, -1, 0, 12]
    assert suffix == '.safetensors' or dataset.names == arrays['name']


def test_only_features_are_required(tmp_path, arrays):
    np.save(tmp_path / 'a.npy', arrays['feature'])
    torch.save(torch.from_numpy(arrays['feature']), tmp_path / 'a.pt')
    np.savez(tmp_path / 'a.npz', arrays['feature'])
    for suffix in ['.npy', '.pt', '.npz']:
        dataset = FeatureDataset(tmp_path / f'a{suffix}', normalize=False)
        assert dataset[0].keys() == ['x']
        assert np.array_equal(dataset[0].x, arrays['feature'])
        assert dataset.names is None


def test_ids_from_files_of_their_own(tmp_path, arrays):
    np.save(tmp_path / 'a.npy', arrays['feature'])
    np.save(tmp_path / 'ids.npy', arrays['id'])
    save(tmp_path / 'meta.npz', arrays)
    torch.save(arrays['name'], tmp_path / 'names.pt')
    dataset = FeatureDataset(
        tmp_path / 'a.npy',
        id=str(tmp_path / 'ids.npy'),
        camera=tmp_path / 'meta.npz',
        name=tmp_path / 'names.pt',
    )
    assert dataset[0].y.tolist() == [7, 7, 0, 12]
    assert dataset[0].camera.tolist() == [0, 1, 0, 1]
    assert dataset.names == [arrays['name'][i] for i in [0, 1, 3, 4]]


def test_ids_as_arrays(tmp_path, arrays):
    np.save(tmp_path / 'a.npy', arrays['feature'])
    dataset = FeatureDataset(
        tmp_path / 'a.npy',
        id=torch.from_numpy(arrays['id']),
        camera=arrays['camera'],
        name=arrays['name'],
    )
    assert dataset[0].y.tolist() == [7, 7, 0, 12]
    assert dataset[0].camera.tolist() == [0, 1, 0, 1]
    assert dataset.names == [arrays['name'][i] for i in [0, 1, 3, 4]]


def test_names_of_arrays(tmp_path, arrays):
    path = save(
        tmp_path / 'a.npz',
        {
            'feature': arrays['feature'],
            'bn': 2 * arrays['feature'],
            'pid': arrays['id'],
            'label': arrays['id'] + 100,
            'view': arrays['camera'],
            'jpg': arrays['name'],
        },
    )
    dataset = FeatureDataset(
        path, feature='bn', id='label', camera='view', name='jpg', normalize=False
    )
    assert np.array_equal(dataset[0].x, 2 * arrays['feature'])
    assert dataset[0].y.tolist() == [107, 107, 99, 100, 112]
    assert dataset[0].camera.equal(torch.from_numpy(arrays['camera']))
    assert dataset.names == arrays['name']


@pytest.mark.parametrize('suffix', ['.mat', '.npz', '.h5'])
def test_splits_by_the_names_of_arrays(tmp_path, suffix):
    # The form of layumi's `pytorch_result.mat`.
    query, gallery = np.random.default_rng(0).normal(size=(2, 4, 3))
    path = save(
        tmp_path / f'pytorch_result{suffix}',
        {
            'gallery_f': gallery,
            'gallery_label': np.array([-1, 0, 2, 5]),
            'gallery_cam': np.array([1, 2, 3, 4]),
            'query_f': query[:2],
            'query_label': np.array([2, 5]),
            'query_cam': np.array([6, 1]),
            'mquery_f': query,
        },
    )
    data = load_features(path, 'query', normalize=False)
    assert torch.allclose(data.x, torch.from_numpy(query[:2]).float())
    assert data.y.tolist() == [2, 5]
    assert data.camera.tolist() == [6, 1]
    data = load_features(path, split='gallery', normalize=False)
    assert torch.allclose(data.x, torch.from_numpy(gallery[1:]).float())
    assert data.y.tolist() == [0, 2, 5]
    assert data.camera.tolist() == [2, 3, 4]
    assert load_features(path, 'gallery', keep_junk=True).y.tolist() == [-1, 0, 2, 5]
    with pytest.raises(
        ValueError, match="'split'.*pytorch_result.*'train_'.*'query_f'"
    ):
        load_features(path, 'train')
    with pytest.raises(ValueError, match="'feature'.*none.*'gallery_f'.*'mquery_f'"):
        load_features(path)


def test_splits_by_groups(tmp_path, arrays):
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        file['query/feature'] = arrays['feature'][:2]
        file['gallery/feature'] = arrays['feature'][2:]
    assert load_features(path, 'query').num_nodes == 2
    assert load_features(path, 'gallery').num_nodes == 3
    with pytest.raises(ValueError, match="'feature'.*several.*'query/feature'"):
        load_features(path)


@pytest.mark.parametrize(
    'codes',
    [np.array([0, 1, 2, 2, 1]), ['train', 'query', 'gallery', 'gallery', 'query']],
)
def test_splits_by_an_array(tmp_path, arrays, codes):
    path = save(tmp_path / 'a.npz', arrays | {'split': codes})
    assert load_features(path, 'train').y.tolist() == [7]
    query = FeatureDataset(path, 'query')
    assert query[0].y.tolist() == [7, 12]
    assert query.names == ['b/ü.jpg', 'e.jpg']
    assert query.split == 'query'
    gallery = FeatureDataset(path, 'gallery')
    assert gallery[0].y.tolist() == [0]  # without the junk
    assert gallery.names == ['d.jpg']
    assert load_features(path).num_nodes == 4


@pytest.mark.parametrize('split', ['train', 'query', 'gallery'])
def test_reads_the_embedded_set(split):
    path = Path(torch_geometric_reid.datasets.__file__).with_name('omniglot242.npz')
    data, expected = load_features(path, split), Omniglot242(split)[0]
    assert torch.allclose(data.x, expected.x, atol=1e-6)
    assert data.y.equal(expected.y)
    assert data.camera.equal(expected.camera)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2)), min_size=1, max_size=9),
    st.sampled_from([None, 'train', 'query', 'gallery']),
    st.booleans(),
)
def test_rows_stay_together(tmp_path_factory, rows, split, keep_junk):
    codes = {'train': [0], 'query': [1], 'gallery': [2], None: [0, 1, 2]}[split]
    expected = [
        i for i, (y, code) in enumerate(rows)
        if code in codes and (keep_junk or y != -1)
    ]  # fmt: skip
    path = tmp_path_factory.mktemp('rows') / 'a.npz'
    numbers = np.arange(len(rows))
    np.savez(
        path,
        x=np.stack([numbers + 1.0, numbers], 1),
        y=[y for y, _ in rows],
        cam=numbers,
        path=[str(i) for i in numbers],
        split=[code for _, code in rows],
    )
    options = {'keep_junk': keep_junk, 'normalize': False}
    if not expected:
        with pytest.raises(ValueError, match='at least one row'):
            FeatureDataset(path, split, **options)
        return
    dataset = FeatureDataset(path, split, **options)
    assert dataset[0].x[:, 1].tolist() == expected
    assert dataset[0].y.tolist() == [rows[i][0] for i in expected]
    assert dataset[0].camera.tolist() == expected
    assert dataset.names == [str(i) for i in expected]


def test_as_a_data_set_of_pyg(tmp_path, arrays):
    def with_graph(data):
        data.edge_index = torch.tensor([[0, 1], [1, 2]])
        return data

    path = save(tmp_path / 'a.npz', arrays)
    dataset = FeatureDataset(path, transform=with_graph)
    assert dataset.num_features == 4
    for batch in RandomNodeLoader(dataset[0], num_parts=2):
        assert batch.num_nodes == 2
        for x, y in zip(batch.x, batch.y, strict=True):
            row = (dataset.x == x).all(dim=1)
            assert dataset.y[row].tolist() == [y]
    assert load_features(path, transform=with_graph).edge_index.shape == (2, 2)


@pytest.mark.parametrize(
    ('change', 'error', 'match'),
    [
        ({'feature': np.full((5, 4), np.nan)}, ValueError, "'feature' of .*finite"),
        ({'feature': np.zeros((5, 4))}, ValueError, "'feature' of .*non-zero"),
        ({'feature': np.ones(5)}, ValueError, r"'feature' of .*\[N, d\].*\[5\]"),
        ({'feature': np.ones((5, 4), int)}, TypeError, "'feature' of .*floating"),
        ({'id': np.arange(4)}, ValueError, r"'id' of .*5 items.*\[4\]"),
        ({'id': np.ones(5) / 2}, TypeError, "'id' of .*integers"),
        ({'camera': np.arange(6)}, ValueError, r"'camera' of .*5 items.*\[6\]"),
        ({'name': ['a.jpg']}, ValueError, "'name' of .*5 items.*got 1"),
        ({'name': np.arange(5)}, TypeError, "'name' of .*text"),
        ({'id': np.full(5, -1)}, ValueError, 'at least one row'),
        ({'x': np.ones((5, 4))}, ValueError, "'feature'.*several.*'feature'.*'x'"),
        ({'pids': np.arange(5)}, ValueError, "'id'.*several.*'id'.*'pids'"),
    ],
)
def test_rejects_content(tmp_path, arrays, change, error, match):
    path = save(tmp_path / 'some.npz', arrays | change)
    with pytest.raises(error, match=match) as info:
        FeatureDataset(path)
    assert 'some.npz' in str(info.value)


def test_rejects_arguments(tmp_path, arrays):
    path = save(tmp_path / 'some.npz', arrays)
    with pytest.raises(ValueError, match="'feature'.*some.npz.*'bn'.*'camera'"):
        FeatureDataset(path, feature='bn')
    with pytest.raises(ValueError, match="'id'.*some.npz.*'person'"):
        FeatureDataset(path, id='person')
    with pytest.raises(FileNotFoundError, match='ids.npy'):
        FeatureDataset(path, id=tmp_path / 'ids.npy')
    with pytest.raises(
        ValueError, match="'split'.*'train', 'query', 'gallery'.*'test'"
    ):
        FeatureDataset(path, 'test')
    with pytest.raises(ValueError, match="'split'.*some.npz.*'query_'"):
        FeatureDataset(path, 'query')
    with pytest.raises(ValueError, match="'id'.*5 items"):
        FeatureDataset(path, id=[1, 2])
    with pytest.raises(FileNotFoundError, match='none.npz'):
        load_features(tmp_path / 'none.npz')
    save(tmp_path / 'two.npz', {'a': arrays['id'], 'b': arrays['id']})
    with pytest.raises(ValueError, match="'id'.*none.*two.npz.*'a', 'b'"):
        FeatureDataset(path, id=tmp_path / 'two.npz')


def test_lists_the_first_of_many_keys(tmp_path):
    path = tmp_path / 'a.pt'
    torch.save({f'{i:03}.jpg': torch.ones(2) for i in range(500)}, path)
    with pytest.raises(ValueError, match=r"none.*'019.jpg' and 480 more"):
        FeatureDataset(path)
