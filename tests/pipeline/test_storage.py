import multiprocessing
import os
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from torch_geometric_reid.atomic import write_tensors
from torch_geometric_reid.pipeline import GraphReRanker, Trust
from torch_geometric_reid.pipeline.folder_lock import FolderLock
from torch_geometric_reid.pipeline.storage import manifest_hash

RECIPES = ('links', 'paper', 'fa', 'ec', 'none')


@pytest.fixture
def folder(rankers, splits, tmp_path):
    gallery = splits[2]
    names = [f'{i}.png' for i in range(gallery.num_nodes)]
    rankers['links'].prepare(gallery.x, gallery.y, names).save(tmp_path / 'saved')
    return tmp_path / 'saved'


def table_file(folder, name):
    manifest = yaml.safe_load((folder / 're_ranker.yaml').read_text())
    return folder / manifest['files']['gallery'][name]


@pytest.mark.parametrize('name', RECIPES)
def test_loaded_ranks_the_same_to_the_bit(splits, rankers, name, tmp_path):
    _, query, gallery = splits
    ranker = rankers[name].prepare(gallery.x)
    ranker.save(tmp_path)
    loaded = GraphReRanker.load(tmp_path)
    assert loaded.config == ranker.config
    for graph in ('probe', 'gallery'):
        a, b = (r.query(query.x[:5], 10, graph) for r in (ranker, loaded))
        assert a.index.equal(b.index)
        assert a.distance.equal(b.distance)
        assert a.connectivity.equal(b.connectivity)
        for probe in query.x[:3]:
            a, b = (r.query(probe, 10, graph) for r in (ranker, loaded))
            assert a.distance.equal(b.distance)
    assert ranker.rank(query.x, gallery.x).equal(loaded.rank(query.x, gallery.x))
    loaded.add(query.x[:2])
    loaded.remove([0])
    assert loaded.gallery.num_images == gallery.num_nodes + 1


def test_mahalanobis_ids_names_and_trust(splits, rankers, tmp_path):
    train, query, gallery = splits
    config = rankers['fa'].config
    config = replace(config, rank=replace(config.rank, metric='mahalanobis_within'))
    ranker = GraphReRanker(config).fit(train.x, train.y)
    ranker.trust = Trust.fit(ranker.rank, query, gallery)
    names = [f'\u00e4{i}' for i in range(gallery.num_nodes)]
    ranker.prepare(gallery.x, gallery.y, names).save(tmp_path)
    a, b = ranker.query(query.x), GraphReRanker.load(tmp_path).query(query.x)
    assert a.probability.equal(b.probability)
    assert a.ids.equal(b.ids)
    assert a.names == b.names


def test_save_replaces_and_leaves_nothing(rankers, splits, folder):
    before = {path.name for path in folder.iterdir()}
    loaded = GraphReRanker.load(folder)
    loaded.remove([3])
    loaded.save(folder)
    after = {path.name for path in folder.iterdir()}
    assert len(after) == len(before)
    assert next(folder.glob('models-*')).name in before
    assert len(after - before) == len(before) - 3  # and manifest, lock
    assert GraphReRanker.load(folder).gallery.num_images == splits[2].num_nodes - 1
    assert GraphReRanker.load(folder).gallery.names[3] == '4.png'


def test_features_are_mapped(folder):
    loaded = GraphReRanker.load(folder)
    if os.path.exists('/proc/self/maps'):
        path = table_file(folder, 'x')
        with open('/proc/self/maps') as file:
            assert str(path) in file.read()
    for table in loaded.gallery.store.tensors().values():
        assert table.data_ptr() % 64 == 0


@pytest.mark.parametrize('kind', ['models', 'gallery', 'names', 're_ranker'])
def test_damage_is_named(folder, kind):
    path = next(folder.glob(f'{kind}*'))
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name):
        GraphReRanker.load(folder)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=path.name):
        GraphReRanker.load(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        GraphReRanker.load(folder)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'format': 'x'}, 'is no re-ranker'),
        ({'version': 1}, 'needs version 2'),
        ({'files': {'models': '../../models-x'}}, 'names no files'),
        ({'files': {'gallery': 'gallery-x'}}, 'names no files'),
        ({'files': None}, 'names no files'),
        ({'config': {'recipe': 'other'}}, 'no valid options'),
        ({'config': {'unknown': 1}}, 'no valid options'),
        ({'config': None}, 'no options'),
        ({'hash': 'x'}, 'is damaged'),
    ],
)
def test_foreign_manifests(folder, change, match):
    path = folder / 're_ranker.yaml'
    manifest = {**yaml.safe_load(path.read_text()), **change}
    if 'hash' not in change:
        manifest['hash'] = manifest_hash(manifest)
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(ValueError, match=match):
        GraphReRanker.load(folder)


@pytest.mark.parametrize('text', ['', '[', '!!python/object/apply:os.getcwd []', 'a'])
def test_no_manifest(folder, text):
    (folder / 're_ranker.yaml').write_text(text)
    with pytest.raises(ValueError, match='re_ranker.yaml'):
        GraphReRanker.load(folder)


def test_tables_are_checked(folder):
    path = table_file(folder, 'neighbor')
    tensors = load_file(path)
    tensors['neighbor'] = tensors['neighbor'] + 10**6
    write_tensors(path, tensors, {})
    with pytest.raises(ValueError, match="gallery-.*'neighbor' needs images between"):
        GraphReRanker.load(folder)
    save_file(tensors, path)  # without a hash
    with pytest.raises(ValueError, match='is damaged'):
        GraphReRanker.load(folder)


def test_models_of_other_options(folder, rankers):
    path = folder / 're_ranker.yaml'
    manifest = yaml.safe_load(path.read_text())
    manifest['config']['links']['hidden_channels'] = 7
    manifest['hash'] = manifest_hash(manifest)
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(ValueError, match='models-.*do not fit the options'):
        GraphReRanker.load(folder)


def test_untrained_and_locked(splits, rankers, tmp_path):
    train = splits[0]
    with pytest.raises(RuntimeError, match='not fitted'):
        GraphReRanker().save(tmp_path)
    lazy = GraphReRanker(rankers['links'].config).fit(train.x, train.y)
    with pytest.raises(RuntimeError, match='not trained yet'):
        lazy.save(tmp_path)
    with pytest.raises(FileNotFoundError, match='holds no re-ranker'):
        GraphReRanker.load(tmp_path / 'none')
    lock = FolderLock(tmp_path)
    with pytest.raises(RuntimeError, match='another program'):
        rankers['none'].save(tmp_path)
    lock.release()
    rankers['none'].save(tmp_path)


def save_again(ranker, folder):
    for _ in range(10_000):
        ranker.remove([0]) if ranker.gallery.num_images > 20 else None
        ranker.save(folder)


@pytest.mark.parametrize('seconds', [0.05, 0.2, 0.35])
def test_a_kill_leaves_a_whole_re_ranker(rankers, splits, folder, seconds):
    context = multiprocessing.get_context('fork')
    process = context.Process(
        target=save_again, args=(GraphReRanker.load(folder), folder)
    )
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    loaded = GraphReRanker.load(folder)
    loaded.query(splits[1].x)
    copy = folder.with_name('copy')
    shutil.copytree(folder, copy)
    loaded.save(copy)
    assert torch.equal(GraphReRanker.load(copy).gallery.ids, loaded.gallery.ids)


def test_saving_again_mends_a_damaged_file(folder, splits):
    loaded = GraphReRanker.load(folder)
    expected = loaded.query(splits[1].x).distance
    path = next(folder.glob('models-*'))
    content = bytearray(path.read_bytes())
    content[-3] ^= 255
    path.write_bytes(content)
    loaded.save(folder)
    mended = GraphReRanker.load(folder)
    assert torch.equal(mended.query(splits[1].x).distance, expected)


def test_given_weights_and_retrained_links(rankers, splits, tmp_path):
    train, query, gallery = splits
    config = rankers['links'].config
    config = replace(config, links=replace(config.links, weights=(1, 1, 1, 1)))
    ranker = GraphReRanker(config).fit(train.x, train.y).prepare(gallery.x)
    ranker.save(tmp_path)
    GraphReRanker.load(tmp_path)
    ranker.rank(query.x, gallery.x[:50])  # trains anew: the tables are others'
    with pytest.raises(RuntimeError, match='no gallery'):
        ranker.query(query.x)
