"""Every row of the table in the documentation is a real call with a real message."""

import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.datasets import (
    Market1501,
    VeRi776,
    load_features,
)
from torch_geometric_reid.datasets.images import read_image
from torch_geometric_reid.knn import knn
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.rerank import k_reciprocal

PAGE = Path(__file__).parents[1] / 'docs' / 'bad_input.rst'
ROW = re.compile(
    r'^   \* - (.+)\n     - ``(.+)``\n     - (\w+)\n     - ``(.+)``$', re.M
)
X = torch.eye(3, 4)
CALLED = {
    called.__name__: called
    for called in (
        *(Market1501, VeRi776, load_features, read_image),
        *(evaluate, k_reciprocal, knn, main),
    )
}


def rows():
    return [pytest.param(*row[1:], id=row[0]) for row in ROW.findall(PAGE.read_text())]


@pytest.fixture
def names(tmp_path, monkeypatch):
    """The files that the calls of the table name."""
    monkeypatch.chdir(tmp_path)
    x, ids = X.numpy(), np.array([1, 1, 2])
    np.savez('good.npz', feature=x, id=ids, camera=[0, 1, 0])
    np.savez('plain.npz', feature=x)
    np.savez('two.npz', feature=x, embedding=x)
    np.savez('odd.npz', bn=x, person=ids)
    np.savez('short.npz', feature=x, id=ids[:2])
    np.savez('real.npz', feature=x, id=ids + 0.5)
    np.savez('junk.npz', feature=x, id=[-1, -1, -1])
    np.save('objects.npy', np.array([{}], dtype=object))
    np.save('cut.npy', x)
    Path('cut.npy').write_bytes(Path('cut.npy').read_bytes()[:-8])
    head = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"
    Path('huge.npy').write_bytes(
        b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head.encode()
    )
    np.savez_compressed('folded.npz', feature=np.zeros((1000, 100)))
    Path('text.npz').write_text('feature')
    Path('text.txt').write_text('feature')
    Path('text.jpg').write_text('feature')
    torch.save({'x': Path('.')}, 'code.pt')
    Path('market/query').mkdir(parents=True)
    Path('named/query').mkdir(parents=True)
    Path('named/query/cat.jpg').write_text('')
    Path('camera/query').mkdir(parents=True)
    Path('camera/query/0002_c9s1_000451_03.jpg').write_text('')
    Path('veri/image_train').mkdir(parents=True)
    Path('veri/image_train/0001_c001_00016450_0.jpg').write_text('')
    Path('veri/train_label.xml').write_text('<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>')
    return CALLED | {'nan': float('nan'), 'x': X}


@pytest.mark.parametrize(('call', 'kind', 'message'), rows())
def test_row(names, capsys, call, kind, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            result = eval(call, names)
        except Exception as error:
            got = (type(error).__name__, ' '.join(str(error).split()))
        else:
            own = [w for w in caught if w.category is UserWarning]
            if own:
                got = ('UserWarning', str(own[0].message))
            else:
                assert result == 1
                error = capsys.readouterr().err.strip()
                assert '\n' not in error
                got = ('exit', error)
    assert got == (kind, message)


def test_there_are_rows():
    assert len(rows()) == PAGE.read_text().count('\n   * - ') - 4
