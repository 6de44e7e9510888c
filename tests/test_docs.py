import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import torch_geometric_reid
from torch_geometric_reid.cli.parser import make_parser
from torch_geometric_reid.pipeline import Config, to_yaml

DOCS = Path(__file__).parents[1] / 'docs'
SMALL, PAPER = Config(), Config.paper()
ROW = re.compile(r'^   \* - ``(\S+)``\n     - ``(.+)``\n     - ``(.+)``$', re.M)
DIRECTIVE = re.compile(
    r'^\.\. (currentmodule|automodule|autoclass|autofunction):: (\S+)'
    r'(\n   :members:$)?',
    re.M,
)


def option_table():
    text = (DOCS / 'options.rst').read_text()
    return {name: values for name, *values in ROW.findall(text)}


def options(config, prefix=''):
    for field in fields(config):
        value = getattr(config, field.name)
        yield prefix + field.name, value
        if is_dataclass(value):
            yield from options(value, f'{prefix}{field.name}.')


def test_every_option_is_in_a_table():
    assert set(option_table()) == dict(options(SMALL)).keys()


@pytest.mark.parametrize(
    ('column', 'config'), [(0, SMALL), (1, PAPER)], ids=['small', 'paper']
)
def test_options_have_the_values_of_the_preset(column, config):
    table = option_table()
    for name, value in options(config):
        expected = type(value).__name__ if is_dataclass(value) else repr(value)
        assert (name, table[name][column]) == (name, expected)


PAGES = sorted(page.name for page in DOCS.glob('*.rst') if '\n>>> ' in page.read_text())


def test_pages_with_programs():
    names = ['backbone', 'choosing', 'features', 'quickstart', 'samplers']
    assert [f'{name}.rst' for name in names] == PAGES


@pytest.mark.parametrize('page', PAGES)
def test_programs_run(page):
    with warnings.catch_warnings():
        result = doctest.testfile(
            str(DOCS / page),
            module_relative=False,
            optionflags=doctest.NORMALIZE_WHITESPACE,
        )
    assert result.attempted > 10
    assert result.failed == 0


COMMANDS = sorted(
    command
    for page in DOCS.rglob('*.rst')
    for command in re.findall(r'^   \$ tg-reid (.*)$', page.read_text(), re.M)
)


@pytest.mark.parametrize('command', COMMANDS)
def test_commands_parse(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('options.yaml').write_text(to_yaml(Config()))
    argv = shlex.split(command)
    args = make_parser(argv).parse_args(argv)
    assert args.subcommand == argv[0]


def documented():
    found = []
    for page in (DOCS / 'reference').glob('*.rst'):
        module = None
        for kind, name, members in DIRECTIVE.findall(page.read_text()):
            if kind in ('currentmodule', 'automodule'):
                module = importlib.import_module(name)
                names = module.__all__ if members else []
            else:
                path, _, name = name.rpartition('.')
                module = importlib.import_module(path) if path else module
                names = [name]
            found += [getattr(module, name) for name in names]
    return found


def public_modules():
    prefix = f'{torch_geometric_reid.__name__}.'
    for info in pkgutil.walk_packages(torch_geometric_reid.__path__, prefix):
        module = importlib.import_module(info.name)
        if hasattr(module, '__all__'):
            yield pytest.param(module, module.__all__, id=info.name)
    for name in ('knn', 'distance'):
        module = importlib.import_module(prefix + name)
        names = [
            name
            for name, value in inspect.getmembers(module)
            if getattr(value, '__module__', None) == module.__name__
            and not name.startswith('_')
        ]
        yield pytest.param(module, names, id=module.__name__)
    yield pytest.param(
        torch_geometric_reid, torch_geometric_reid.__all__, id='torch_geometric_reid'
    )


@pytest.mark.parametrize(('module', 'names'), list(public_modules()))
def test_reference_is_complete(module, names):
    found = documented()
    assert [name for name in names if getattr(module, name) not in found] == []
