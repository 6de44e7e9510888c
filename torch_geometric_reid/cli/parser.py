from argparse import ArgumentParser as PlainParser
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser

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
    return parser


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
