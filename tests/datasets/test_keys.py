import pytest

from torch_geometric_reid.datasets.keys import find_keys, keys_of_split, listed


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        ('feature', 'f feat feats feature features Feature embedding embeddings x X'),
        ('id', 'id ids pid pids PID label labels identity identities y data/label'),
        ('camera', 'cam cams camera cameras camid camids cam_id camera_id camera_ids'),
        ('name', 'name names path paths file files filename file_names image_path'),
        ('split', 'split splits'),
    ],
)
def test_aliases(kind, names):
    for name in names.split():
        assert find_keys(kind, {name: 'key', 'other': 'another'}) == ['key'], name
        for other in {'feature', 'id', 'camera', 'name', 'split'} - {kind}:
            assert find_keys(other, {name: 'key'}) == [], name


def test_what_is_no_alias():
    keys = {
        key: key for key in ['image', 'id_name', 'camera_name', 'mfeature', 'xy', '']
    }
    for kind in ['feature', 'id', 'camera', 'name', 'split']:
        assert find_keys(kind, keys) == []


def test_keys_of_split():
    keys = ['query_f', 'Query/label', 'mquery_f', 'gallery_f', 'query', 'queryf']
    assert keys_of_split('query', keys) == {'f': 'query_f', 'label': 'Query/label'}
    assert keys_of_split('gallery', keys) == {'f': 'gallery_f'}
    assert keys_of_split('train', keys) == {}


def test_listed():
    assert listed(['a', 'b']) == "'a', 'b'"
    assert listed([]) == 'none'
    assert listed('abcd', limit=2) == "'a', 'b' and 2 more"
