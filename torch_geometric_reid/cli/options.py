r"""Options that several commands have."""

import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from torch_geometric_reid.cli.errors import explain
from torch_geometric_reid.pipeline import Config
from torch_geometric_reid.pipeline.aggregate import GRAPHS

PRESETS: dict[str, Callable[[], Config]] = {'small': Config, 'paper': Config.paper}


class Parser(ArgumentParser):
    r"""A parser whose errors are two lines: what is wrong, and where to look."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, 'subcommand_parser', None) or self
        names = {name.split('.')[0] for name, _ in parser.get_defaults().items()}
        for section, options in asdict(Config()).items():
            if section in names and isinstance(options, dict):
                names |= {f'{section}.{name}' for name in options}
        print(f'tg-reid: error: {explain(message, sorted(names))}', file=sys.stderr)
        command = parser.prog.replace(' [options]', '')
        print(f'all options: {command} --help', file=sys.stderr)
        raise SystemExit(2)


def new_parser(description: str) -> ArgumentParser:
    r"""Returns a parser that takes no abbreviations of options."""
    return Parser(description=description, allow_abbrev=False)


def add_config(
    parser: ArgumentParser,
    preset: str,
    out: Path | None = None,
    config: Config | None = None,
) -> None:
    r"""Adds the options of a configuration.

    Args:
        parser (ArgumentParser): The parser.
        preset (str): The name of the defaults.
        out (pathlib.Path, optional): The default of :obj:`--out`, the folder of a
            run, if there is to be one. (default: :obj:`None`)
        config (Config, optional): The defaults, if not those of that name.
            (default: :obj:`None`)
    """
    parser.add_argument(
        '--preset',
        choices=PRESETS,
        default=preset,
        help='defaults of all options: small (two CPU cores) or paper',
    )
    parser.add_argument('--config', action='config', help='YAML file of options')
    if out is not None:
        parser.add_argument('--out', type=Path, default=out, help='folder of the run')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    parser.add_class_arguments(Config)
    parser.set_defaults(asdict(PRESETS[preset]() if config is None else config))


def read_config(args: Any) -> Config:
    r"""Returns the configuration among the arguments of a command."""
    return Config(**{field.name: args[field.name] for field in fields(Config)})


def add_file(parser: ArgumentParser, name: str, what: str) -> None:
    r"""Adds an option that names a file of features."""
    parser.add_argument(
        f'--{name}', type=str, required=True, metavar='FILE', help=f'file of {what}'
    )


def add_json(parser: ArgumentParser, what: str = 'the rows of the table') -> None:
    r"""Adds the option that names a file for what is printed."""
    parser.add_argument(
        '--json', type=Path | None, metavar='FILE', help=f'write {what} as JSON'
    )


def add_ranking(parser: ArgumentParser) -> None:
    r"""Adds the option that names the ranking to write."""
    parser.add_argument(
        '--out', type=Path, required=True, help='ranking to write, .npz or .csv'
    )


def add_top(parser: ArgumentParser, top: int) -> None:
    r"""Adds the option of how many images a ranking holds."""
    parser.add_argument(
        '--top', type=PositiveInt, default=top, help='gallery images for each probe'
    )


def add_graph(parser: ArgumentParser, what: str) -> None:
    r"""Adds the option of the graph at test time."""
    parser.add_argument(
        '--graph', type=str | None, help=f'{what} at test time: {", ".join(GRAPHS)}'
    )
