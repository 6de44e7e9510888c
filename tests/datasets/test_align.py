"""Which features belong to which pictures."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from picture_sets import GALLERY, MARKET, save_features
from safetensors.numpy import save_file

from torch_geometric_reid.datasets import Market1501, load_features


def as_pytorch_result(path, names):
    x = np.random.default_rng(0).normal(size=(len(names), 3))
    label = [int(name.split('_')[0]) for name in names]
    scipy.io.savemat(
        path,
        {
            'gallery_f': x,
            'gallery_label': label,
            'query_f': x[:1],
            'query_label': [99],
        },
    )
    return F.normalize(torch.from_numpy(x).float())


def test_pytorch_result_with_junk(root):
    names = sorted(MARKET['bounding_box_test'])
    x = as_pytorch_result(root / 'pytorch_result.mat', names)
    path = root / 'pytorch_result.mat'
    assert Market1501(root, 'gallery', path)[0].x.allclose(x[1:])
    assert Market1501(root, 'gallery', path, keep_junk=True)[0].x.allclose(x)
    as_pytorch_result(path, [*names[1:], names[0]])
    with pytest.raises(ValueError, match=r"row 0 of .* identity 0, .*'-1_c3.*of -1"):
        Market1501(root, 'gallery', path)


@pytest.mark.parametrize('suffix', ['.pt', '.h5', '.safetensors', '.npz', '.npy'])
def test_features_without_names(root, suffix):
    path = root / f'some{suffix}'
    x = np.random.default_rng(0).normal(size=(4, 3)).astype('float32')
    y = np.array([0, 1, 3, 3])
    if suffix == '.pt':
        torch.save({'feature': torch.from_numpy(x), 'pid': torch.from_numpy(y)}, path)
    elif suffix == '.h5':
        with h5py.File(path, 'w') as file:
            file['feature'], file['pid'] = x, y
    elif suffix == '.safetensors':
        save_file({'feature': x, 'pid': y}, path)
    elif suffix == '.npz':
        np.savez(path, feature=x, pid=y)
    else:
        np.save(path, x)
    expected = F.normalize(torch.from_numpy(x))
    assert Market1501(root, 'gallery', path)[0].x.allclose(expected)
    with pytest.raises(ValueError, match='4 rows, there are 2 pictures'):
        Market1501(root, 'query', path)


def test_one_file_for_all_splits(root):
    train, query, gallery = (sorted(names) for names in MARKET.values())
    folders = [folder for folder, names in MARKET.items() for _ in names]
    names = train + query + gallery
    paths = [f'{folder}/{name}' for folder, name in zip(folders, names, strict=True)]
    expected = {'train': [0, 1], 'query': [2, 3], 'gallery': [5, 6, 7, 8]}
    for given, arrays in [
        (names, {'split': [0] * 2 + [1] * 2 + [2] * 5}),
        (paths, {}),
        ([path.replace('/', '\\') for path in paths], {}),
    ]:
        x = save_features(root / 'features.npz', given, **arrays)
        for split, rows in expected.items():
            assert Market1501(root, split)[0].x.allclose(x[rows]), given
    save_features(root / 'features.npz', names)
    with pytest.raises(ValueError, match=r"that '.*query' lacks: '-1_c3.* and 2 more"):
        Market1501(root, 'query')


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda names: names[1:], "no features of '0000_c5s2_000151_01.jpg'"),
        (lambda names: [*names, names[1]], "several features of '0001_c4s1_002051_00"),
        (lambda names: [*names, 'cat.jpg'], "bounding_box_test' lacks: 'cat.jpg'"),
    ],
)
def test_features_that_do_not_belong(root, change, match):
    save_features(root / 'gallery.npz', change(GALLERY))
    with pytest.raises(ValueError, match=f"'features'.*gallery.npz.*{match}"):
        Market1501(root, 'gallery')


def test_names_count_and_not_ids(root):
    x = save_features(root / 'query.npz', sorted(MARKET['query']), id=[500, 501])
    assert load_features(root / 'query.npz').y.tolist() == [500, 501]
    dataset = Market1501(root, 'query')
    assert dataset[0].y.tolist() == [1, 3]
    assert dataset[0].x.allclose(x)
