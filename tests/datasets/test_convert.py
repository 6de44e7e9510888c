import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torch_geometric_reid.datasets.convert import (
    is_text,
    to_features,
    to_ids,
    to_split_mask,
    to_texts,
)

FLOATS = ['<f2', '>f2', '<f4', '>f4', '<f8', '>f8']
INTEGERS = ['i1', 'u1', '<i2', '>i2', '<u2', '<i4', '>i4', '<u4', '<i8', '>i8', '<u8']


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_features_of_any_scale_get_unit_length(value):
    value[:, 0] += (value == 0).all(1)
    x = to_features('x', value, normalize=True).double()
    expected = torch.from_numpy(value.astype(np.float64))
    expected = expected / expected.norm(dim=1, keepdim=True)
    assert torch.allclose(x, expected, atol=1e-6)


@pytest.mark.parametrize('dtype', FLOATS)
def test_features_of_any_type(dtype):
    value = np.array([[3.0, 4.0], [0.0, -2.0]])
    for array in [value.astype(dtype), value.astype(dtype)[::1, ::-1][:, ::-1]]:
        x = to_features('x', array, normalize=False)
        assert x.dtype == torch.float32
        assert x.tolist() == value.tolist()
        x = to_features('x', array, normalize=True)
        assert torch.allclose(x, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
    x = torch.from_numpy(value).to(torch.bfloat16)
    assert to_features('x', x, normalize=False).tolist() == value.tolist()


@pytest.mark.parametrize(
    ('value', 'error', 'match'),
    [
        (np.ones((2, 3), int), TypeError, "'x'.*floating"),
        (np.array([['a']]), TypeError, "'x'.*features"),
        (np.array([[None]]), TypeError, "'x'.*features"),
        (['a.jpg'], TypeError, "'x'.*features"),
        (np.ones(3), ValueError, r"'x'.*\[N, d\].*\[3\]"),
        (np.ones((0, 3)), ValueError, "'x'.*at least one"),
        (np.array([[1, np.nan]]), ValueError, "'x'.*finite.*row 0"),
        (np.array([[1.0], [0.0]]), ValueError, "'x'.*zero.*row 1"),
    ],
)
def test_features_that_are_none(value, error, match):
    with pytest.raises(error, match=match):
        to_features('x', value, normalize=True)


def test_zeros_need_no_direction_without_normalization():
    assert to_features('x', np.zeros((1, 2)), normalize=False).tolist() == [[0, 0]]


@pytest.mark.parametrize('dtype', FLOATS + INTEGERS)
@pytest.mark.parametrize('shape', [(3,), (1, 3), (3, 1)])
def test_ids_of_any_type_and_shape(dtype, shape):
    value = np.array([5, 0, 12]).reshape(shape).astype(dtype)
    for array in [value, torch.from_numpy(value.astype(value.dtype.newbyteorder('=')))]:
        ids = to_ids('y', array, 3)
        assert ids.dtype == torch.int64
        assert ids.tolist() == [5, 0, 12]
    assert to_ids('y', [5, 0, -1], 3).tolist() == [5, 0, -1]
    assert to_ids('y', np.array([[1502.0]]), 1).tolist() == [1502]


@pytest.mark.parametrize(
    ('value', 'error', 'match'),
    [
        (np.array([1.0, 2.5]), TypeError, "'y'.*integers.*float64"),
        (np.array([1.0, np.nan]), TypeError, "'y'.*integers.*float64"),
        (np.array([1.0, np.inf]), TypeError, "'y'.*integers.*float64"),
        (torch.tensor([0.5, 1.0]), TypeError, "'y'.*integers.*float32"),
        (np.array(['0002', '0003']), TypeError, "'y'.*integers"),
        (['0002', '0003'], TypeError, "'y'.*integers"),
        (np.arange(3), ValueError, r"'y'.*2 items.*\[3\]"),
        (np.arange(4).reshape(2, 2), ValueError, r"'y'.*2 items.*\[2, 2\]"),
        (np.int64(4), ValueError, r"'y'.*2 items.*\[\]"),
    ],
)
def test_ids_that_are_none(value, error, match):
    with pytest.raises(error, match=match):
        to_ids('y', value, 2)


@pytest.mark.parametrize(
    'value',
    [
        ['a', 'ü'],
        ('a', 'ü'),
        ['a', 'ü'.encode()],
        np.array(['a', 'ü']),
        np.array([['a'], ['ü']]),
        np.array([b'a', 'ü'.encode()]),
        np.array(['a', 'ü'.encode()], dtype=object),
    ],
)
def test_texts(value):
    assert is_text(value)
    assert to_texts('names', value, 2) == ['a', 'ü']
    with pytest.raises(ValueError, match="'names'.*3 items.*got 2"):
        to_texts('names', value, 3)


@pytest.mark.parametrize('value', [np.arange(2), ['a', 1], [None, None], 'ab', 5])
def test_texts_that_are_none(value):
    assert not is_text(value)
    with pytest.raises(TypeError, match="'names'.*text.*2 items"):
        to_texts('names', value, 2)


@pytest.mark.parametrize(
    'value',
    [
        np.array([0, 1, 2, 1], dtype=np.int8),
        np.array([[0.0, 1.0, 2.0, 1.0]]),
        ['train', 'query', 'gallery', 'Query'],
        np.array([b'train', b'query', b'gallery', b'query']),
    ],
)
def test_split_mask(value):
    assert to_split_mask('split', value, 4, 'train').tolist() == [1, 0, 0, 0]
    assert to_split_mask('split', value, 4, 'query').tolist() == [0, 1, 0, 1]
    assert to_split_mask('split', value, 4, 'gallery').tolist() == [0, 0, 1, 0]
    with pytest.raises(ValueError, match="'split'.*5 items"):
        to_split_mask('split', value, 5, 'train')
