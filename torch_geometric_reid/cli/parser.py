from argparse import ArgumentParser as PlainParser
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from torch_geometric_reid.cli.rerank import METHODS
from torch_geometric_reid.metrics.evaluation import APS
from torch_geometric_reid.pipeline import Config

PRESETS: dict[str, Callable[[], Config]] = {'small': Config, 'paper': Config.paper}


def make_parser(argv: Sequence[str]) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid`.

    Args:
        argv (list): The arguments: a preset among them becomes the default of
            all options.
    """
    first = PlainParser(add_help=False, allow_abbrev=False)
    first.add_argument('--preset', choices=PRESETS, default='small')
    preset = first.parse_known_args(argv)[0].preset

    parser = ArgumentParser(
        prog='tg-reid',
        description='Graph re-ranking for object re-identification.',
    )
    commands = parser.add_subcommands()
    commands.add_subcommand(
        'demo',
        _options(preset, 'Example: tg-reid demo --json rows.json'),
        help='train and compare all stages on the embedded real features',
    )
    run = _options(
        preset,
        'Example: tg-reid run --train train.npz --query query.npz '
        '--gallery gallery.npz --preset paper --fa.k 10',
    )
    for name, what in [
        ('train', 'training images: features and identities'),
        ('query', 'probes: features, identities and maybe cameras'),
        ('gallery', 'gallery images: likewise'),
    ]:
        run.add_argument(
            f'--{name}', type=str, required=True, metavar='FILE', help=f'file of {what}'
        )
    commands.add_subcommand(
        'run',
        run,
        help='the same on your features (npz, npy, pt, mat, h5, safetensors)',
    )
    commands.add_subcommand(
        'rerank', _rerank_options(), help='re-rank your features without training'
    )
    commands.add_subcommand(
        'evaluate', _evaluate_options(), help='evaluate features or a ranking'
    )
    return parser


def _rerank_options() -> ArgumentParser:
    parser = ArgumentParser(
        description='Example: tg-reid rerank --query query.npz --gallery gallery.npz '
        '--method k_reciprocal --out ranking.csv'
    )
    _add_sets(parser)
    parser.add_argument(
        '--method', choices=METHODS, default='k_reciprocal', help='the re-ranker'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='ranking to write, .npz or .csv'
    )
    parser.add_argument(
        '--top', type=PositiveInt, default=50, help='gallery images for each probe'
    )
    return parser


def _evaluate_options() -> ArgumentParser:
    parser = ArgumentParser(
        description='Example: tg-reid evaluate --query query.npz --gallery gallery.npz '
        '--ranking ranking.npz'
    )
    _add_sets(parser)
    parser.add_argument(
        '--ranking',
        type=str | None,
        metavar='FILE',
        help='npz of tg-reid rerank; by default, the distance of the features',
    )
    parser.add_argument(
        '--ap', choices=APS, default='step', help='convention of average precision'
    )
    return parser


def _add_sets(parser: ArgumentParser) -> None:
    for name, what in [('query', 'probes'), ('gallery', 'gallery images')]:
        parser.add_argument(
            f'--{name}', type=str, required=True, metavar='FILE', help=f'file of {what}'
        )
    parser.add_argument(
        '--json', type=Path | None, metavar='FILE', help='write the metrics'
    )


def _options(preset: str, example: str) -> ArgumentParser:
    parser = ArgumentParser(description=example)
    parser.add_argument(
        '--preset',
        type=str,
        default=preset,
        help='defaults of all options: small (two CPU cores) or paper',
    )
    parser.add_argument('--config', action='config', help='YAML file of options')
    parser.add_argument(
        '--json', type=Path | None, metavar='FILE', help='write the rows of the table'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('runs/last'), help='folder of the run'
    )
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    parser.add_class_arguments(Config)
    parser.set_defaults(asdict(PRESETS[preset]()))
    return parser
