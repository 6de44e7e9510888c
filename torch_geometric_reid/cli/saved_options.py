r"""Options of the commands that make and use a saved re-ranker."""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

from torch_geometric_reid.cli.options import (
    add_config,
    add_file,
    add_graph,
    add_json,
    add_ranking,
    add_top,
    new_parser,
)

PRINTED = 'what is printed'


def fit_options(preset: str) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid fit`."""
    parser = new_parser(
        'Example: tg-reid fit --train train.npz --gallery gallery.npz --model model'
    )
    add_file(parser, 'train', 'training images: features and identities')
    add_file(parser, 'gallery', 'gallery images: features, maybe ids and names')
    _add_model(parser)
    parser.add_argument(
        '--trust',
        action='store_true',
        help='also fit probabilities, on held-out training identities',
    )
    parser.add_argument(
        '--resume',
        type=Path | None,
        metavar='FOLDER',
        help='folder where the state of training is kept, to go on after a stop',
    )
    add_json(parser, PRINTED)
    add_config(parser, preset)
    return parser


def rank_options(preset: str) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid rank`."""
    parser = new_parser(
        'Example: tg-reid rank --model model --query query.npz --out ranking.csv'
    )
    _add_model(parser)
    add_file(parser, 'query', 'probes')
    _add_matches(parser, 50)
    add_ranking(parser)
    return parser


def query_options(preset: str) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid query`."""
    parser = new_parser(
        'Example: tg-reid query --model model --query query.npz --row 3'
    )
    _add_model(parser)
    add_file(parser, 'query', 'probes, of which one is asked for')
    parser.add_argument(
        '--row', type=NonNegativeInt, default=0, help='its place in the file'
    )
    _add_matches(parser, 10)
    return parser


def add_options(preset: str) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid add`."""
    parser = new_parser('Example: tg-reid add --model model --gallery more.npz')
    _add_model(parser)
    add_file(parser, 'gallery', 'more gallery images')
    add_json(parser, PRINTED)
    return parser


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--model',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='folder of the saved re-ranker and its gallery',
    )


def _add_matches(parser: ArgumentParser, top: int) -> None:
    add_top(parser, top)
    add_graph(parser, 'graph')
    add_json(parser, PRINTED)


SAVED: dict[str, tuple[Callable[[str], ArgumentParser], str]] = {
    'fit': (fit_options, 'train a re-ranker, prepare a gallery and save both'),
    'rank': (rank_options, 'rank the gallery of a saved re-ranker for all probes'),
    'query': (query_options, 'ask a saved re-ranker for one probe'),
    'add': (add_options, 'add images to the gallery of a saved re-ranker'),
}
