r"""Options that several commands have."""

from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser

from torch_geometric_reid.pipeline import Config


def new_parser(description: str) -> ArgumentParser:
    r"""Returns a parser that takes no abbreviations of options."""
    return ArgumentParser(description=description, allow_abbrev=False)


def add_config(
    parser: ArgumentParser, preset: str, config: Config, out: Path | None = None
) -> None:
    r"""Adds the options of a configuration.

    Args:
        parser (ArgumentParser): The parser.
        preset (str): The name of the defaults.
        config (Config): The defaults.
        out (pathlib.Path, optional): The default of :obj:`--out`, the folder of a
            run, if there is to be one. (default: :obj:`None`)
    """
    parser.add_argument(
        '--preset',
        type=str,
        default=preset,
        help='defaults of all options: small (two CPU cores) or paper',
    )
    parser.add_argument('--config', action='config', help='YAML file of options')
    if out is not None:
        parser.add_argument('--out', type=Path, default=out, help='folder of the run')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    parser.add_class_arguments(Config)
    parser.set_defaults(asdict(config))


def add_file(parser: ArgumentParser, name: str, what: str) -> None:
    r"""Adds an option that names a file of features."""
    parser.add_argument(
        f'--{name}', type=str, required=True, metavar='FILE', help=f'file of {what}'
    )
