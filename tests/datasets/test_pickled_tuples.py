import io
import pickle
import time
import zipfile

import pytest
import torch

from torch_geometric_reid.datasets import load_features
from torch_geometric_reid.datasets.pickled_tuples import check_tuples


def nested(depth):
    """A dictionary with a key of two times the tuple of two times the tuple..."""
    entries = b''.join(
        b'h' + bytes([i]) + b'\x86q' + bytes([i + 1]) for i in range(depth)
    )
    return b'\x80\x02}K\x01q\x00' + entries + b'K\x01s.'


@pytest.mark.parametrize('protocol', range(6))
def test_plain_data_passes(protocol):
    value = {'a': [1.5, None, ('x', b'y', (2**70, True))], (1, (2, 3)): {'b': ()}}
    value['shared'] = [value['a']] * 300
    file = io.BytesIO(pickle.dumps(value, protocol) + pickle.dumps('next', protocol))
    check_tuples(file)
    assert pickle.load(file) == 'next'


def test_long_and_many_tuples_pass():
    many = {(i, (i, i)): [i] * 3 for i in range(100_000)}
    check_tuples(io.BytesIO(pickle.dumps([tuple(range(500_000)), many])))


def test_tuples_that_unfold():
    check_tuples(io.BytesIO(nested(15)))
    with pytest.raises(ValueError, match='unfold to far more'):
        check_tuples(io.BytesIO(nested(60)))


def test_one_long_tuple_as_many_keys():
    entries = b''.join(b'h' + bytes([i]) + b'\x86q' + bytes([i + 1]) for i in range(15))
    keys = b'h\x0fK\x01s' * 10_000
    data = b'\x80\x02}K\x01q\x00' + entries + b'K\x01s' + keys + b'.'
    with pytest.raises(ValueError, match='unfold to far more'):
        check_tuples(io.BytesIO(data))


@pytest.mark.parametrize('data', [b'', b'\x80\x02', b'\x80\x02h\x05.', b't.', b'\xff'])
def test_damaged_pickles(data):
    with pytest.raises(ValueError, match='pickle|opcode'):
        check_tuples(io.BytesIO(data))


@pytest.mark.parametrize('zipped', [True, False])
def test_feature_files_that_would_take_for_ever(tmp_path, zipped):
    path = tmp_path / 'a.pt'
    torch.save(
        {'feature': torch.ones(2, 2)}, path, _use_new_zipfile_serialization=zipped
    )
    if zipped:
        with zipfile.ZipFile(path) as archive:
            records = {r.filename: archive.read(r) for r in archive.infolist()}
        with zipfile.ZipFile(path, 'w') as archive:
            for name, data in records.items():
                archive.writestr(name, nested(60) if 'data.pkl' in name else data)
    else:
        parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
        path.write_bytes(b''.join(parts) + nested(60))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r'a\.pt.*unfold to far more'):
        load_features(path)
    assert time.perf_counter() - start < 10
