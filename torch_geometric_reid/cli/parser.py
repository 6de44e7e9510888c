from argparse import ArgumentParser as PlainParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from torch_geometric_reid.cli.experiment import EXPERIMENTS
from torch_geometric_reid.cli.options import (
    PRESETS,
    add_config,
    add_file,
    add_graph,
    add_json,
    add_ranking,
    add_top,
    new_parser,
)
from torch_geometric_reid.cli.rerank import METHODS
from torch_geometric_reid.cli.saved_options import SAVED
from torch_geometric_reid.cli.trust import add_trust
from torch_geometric_reid.cli.tune import tune_options
from torch_geometric_reid.experiments.published import BACKBONES
from torch_geometric_reid.metrics.evaluation import APS

PAPER_K = {'dukemtmcreid': 10, 'veri776': 20}


def make_parser(argv: Sequence[str]) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid`.

    Args:
        argv (list): The arguments: a preset and a data set among them choose the
            defaults of all options.
    """
    first = PlainParser(add_help=False, allow_abbrev=False)
    first.add_argument('--preset', nargs='?')
    first.add_argument('--data', nargs='?')
    known = first.parse_known_args(argv)[0]
    preset = known.preset if known.preset in PRESETS else 'small'

    parser = new_parser('Graph re-ranking for object re-identification.')
    parser.prog = 'tg-reid'
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
    add_file(run, 'train', 'training images: features and identities')
    add_file(run, 'query', 'probes: features, identities and maybe cameras')
    add_file(run, 'gallery', 'gallery images: likewise')
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
    commands.add_subcommand(
        'experiment',
        _experiment_options(preset, known.data),
        help='a table or figure of the paper, or its controls',
    )
    commands.add_subcommand(
        'tune',
        tune_options(preset),
        help='choose options on held-out training identities',
    )
    for name, (make, what) in SAVED.items():
        commands.add_subcommand(name, make(preset), help=what)
    return parser


def _experiment_options(preset: str, data: str | None) -> ArgumentParser:
    parser = new_parser('Example: tg-reid experiment lambda --seeds 1')
    parser.add_argument('name', choices=EXPERIMENTS, help='the experiment')
    parser.add_argument(
        '--data',
        type=str,
        default='omniglot242',
        help='omniglot242, a file with splits, market1501, dukemtmcreid or veri776',
    )
    parser.add_argument(
        '--root',
        type=str | None,
        metavar='FOLDER',
        help="folder of the last three, or the one that a file's names of pictures "
        'start from',
    )
    parser.add_argument(
        '--features',
        type=str | None,
        metavar='FILE',
        help='file of the features of the last three, if not there',
    )
    parser.add_argument(
        '--backbone',
        choices=BACKBONES,
        default='r50',
        help='whose published figures table2 shows',
    )
    parser.add_argument('--seeds', type=PositiveInt, default=3, help='number of seeds')
    parser.add_argument(
        '--values',
        type=list[float] | None,
        help='values of a sweep, or probes of ranklist',
    )
    add_graph(parser, 'the only graph')
    config = PRESETS[preset]()
    if preset == 'paper' and data in PAPER_K and config.fa is not None:
        config = replace(config, fa=replace(config.fa, k=PAPER_K[data]))
    add_config(parser, preset, Path('runs/experiments'), config)
    return parser


def _rerank_options() -> ArgumentParser:
    parser = new_parser(
        'Example: tg-reid rerank --query query.npz --gallery gallery.npz '
        '--method k_reciprocal --out ranking.csv'
    )
    _add_sets(parser)
    parser.add_argument(
        '--method', choices=METHODS, default='k_reciprocal', help='the re-ranker'
    )
    parser.add_argument(
        '--parameters',
        type=Path | None,
        metavar='FILE',
        help='YAML file of its parameters, as tg-reid tune writes it',
    )
    add_ranking(parser)
    add_top(parser, 50)
    return parser


def _evaluate_options() -> ArgumentParser:
    parser = new_parser(
        'Example: tg-reid evaluate --query query.npz --gallery gallery.npz '
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
    add_file(parser, 'query', 'probes')
    add_file(parser, 'gallery', 'gallery images')
    add_json(parser, 'the metrics')


def _options(preset: str, example: str) -> ArgumentParser:
    parser = new_parser(example)
    add_json(parser)
    add_trust(parser)
    add_config(parser, preset, Path('runs/last'))
    return parser
