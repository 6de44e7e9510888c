import pytest
import torch

from torch_geometric_reid.experiments import Cache

VALUE = {'x': torch.arange(6.0).view(2, 3), 'n': torch.tensor(3), 'e': torch.empty(0)}


def test_makes_once_and_returns_the_same(tmp_path):
    made = []

    def make():
        made.append(1)
        return VALUE

    for _ in range(3):
        out = Cache(tmp_path / 'new').get('kind', {'seed': 0}, make)
        assert out.keys() == VALUE.keys()
        for name, value in VALUE.items():
            assert torch.equal(out[name], value)
            assert out[name].dtype == value.dtype
    Cache(tmp_path / 'new').get('kind', {'seed': 1}, make)
    Cache(tmp_path / 'new').get('other', {'seed': 0}, make)
    assert len(made) == 3
    assert {p.suffix for p in (tmp_path / 'new').iterdir()} == {'.safetensors'}


def flip_last_byte(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    'damage', [flip_last_byte, lambda x: x[:-3], lambda x: b'', lambda x: b'no tensors']
)
def test_damaged_file_is_made_anew_with_a_warning(tmp_path, damage):
    cache = Cache(tmp_path)
    cache.get('kind', {}, lambda: VALUE)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match='is damaged and is made anew'):
        out = cache.get('kind', {}, lambda: VALUE)
    assert torch.equal(out['x'], VALUE['x'])
    again = cache.get('kind', {}, pytest.fail)
    assert torch.equal(again['x'], VALUE['x'])


def test_file_of_another_key_is_not_taken(tmp_path):
    cache = Cache(tmp_path)
    cache.get('kind', {'seed': 0}, lambda: VALUE)
    (first,) = tmp_path.iterdir()
    other = {'x': torch.ones(1)}
    cache.get('kind', {'seed': 1}, lambda: other)
    (second,) = set(tmp_path.iterdir()) - {first}
    second.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match='made from something else'):
        out = cache.get('kind', {'seed': 1}, lambda: other)
    assert torch.equal(out['x'], other['x'])


def test_nothing_is_kept_of_what_fails(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).get('kind', {}, fail)
    assert list(tmp_path.iterdir()) == []
