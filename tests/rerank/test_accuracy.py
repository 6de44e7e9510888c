import pytest

from torch_geometric_reid import rerank
from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.metrics import evaluate


@pytest.fixture(scope='module')
def splits():
    return Omniglot242('query')[0], Omniglot242('gallery')[0]


@pytest.mark.parametrize(
    ('name', 'kwargs', 'percent'),
    [
        ('k_reciprocal', {}, 80.5),
        ('gnn', {}, 80.0),
        ('query_expansion', {'database': True}, 79.4),
        ('expanded_cross_neighborhood', {}, 81.1),
        ('gcr', {}, 80.0),
    ],
)
def test_re_rankers_on_real_features(splits, name, kwargs, percent):
    # The cosine alone reaches 70.0.
    query, gallery = splits
    dist = getattr(rerank, name)(query.x, gallery.x, **kwargs)
    out = evaluate(dist, query.y, gallery.y, query.camera, gallery.camera)
    assert 100 * out.mAP == pytest.approx(percent, abs=0.1)
