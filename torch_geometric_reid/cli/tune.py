from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.cli.inputs import load_labelled, print_split
from torch_geometric_reid.cli.options import (
    add_config,
    add_json,
    new_parser,
    read_config,
)
from torch_geometric_reid.cli.table import format_table, write_json
from torch_geometric_reid.datasets import Omniglot242, load_features
from torch_geometric_reid.pipeline import Config, Trial, Tuning, to_yaml, tune
from torch_geometric_reid.pipeline.tune import METRICS
from torch_geometric_reid.pipeline.tune_options import SECTIONS, VALUES, choose_values


def tune_options(preset: str) -> ArgumentParser:
    r"""Returns the parser of :obj:`tg-reid tune`."""
    parser = new_parser(
        'Chooses options on held-out training identities. Example: '
        'tg-reid tune --train train.npz --gallery gallery.npz '
        '--options fa.k rank.weight --out options.yaml'
    )
    parser.add_argument(
        '--train',
        type=str | None,
        metavar='FILE',
        help='file of training images: features and identities; by default, the '
        'embedded set',
    )
    parser.add_argument(
        '--gallery',
        type=str | None,
        metavar='FILE',
        help='file of gallery features, whose identities are not read: held-out '
        'images are made as hard',
    )
    parser.add_argument(
        '--options',
        type=str,
        nargs='+',
        metavar='NAME',
        help=f'options to tune, such as {", ".join(VALUES)}; by default all of these '
        'but those of links',
    )
    parser.add_argument(
        '--values',
        type=str,
        nargs='+',
        metavar='NAME=VALUES',
        help='values of options, as in fa.k=3,5,8 ec.num_neighbors=[20,5],[50,5]',
    )
    parser.add_argument(
        '--seeds', type=PositiveInt, default=3, help='number of hold-outs, at least 2'
    )
    parser.add_argument(
        '--fraction', type=float, default=0.5, help='share of identities held out'
    )
    parser.add_argument(
        '--metric', choices=METRICS, default='mAP', help='what is to be higher'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('options.yaml'),
        help='YAML to write, for tg-reid run --config; parameters of the re-rankers '
        'go beside it, to NAME.rerank.yaml',
    )
    add_json(parser, 'the rows of the tables')
    add_config(parser, preset)
    return parser


def run_tune(args: Any) -> None:
    r"""Runs :obj:`tg-reid tune`."""
    config = read_config(args)
    values = _parse_values(args['values'] or [])
    choose_values(config, args.options, values)  # complains before files are read
    train, reference = _load(args.train, args.gallery)
    print_split('train', train)
    if reference is not None:
        print(f'# gallery: {len(reference)} features, no identities read')
    print(f'# hold-outs: {args.seeds}, each of {args.fraction:.0%} of the identities')
    tuning = tune(
        train,
        reference,
        config,
        args.options,
        values,
        range(args.seeds),
        args.fraction,
        args.metric,
        progress=not args.quiet,
    )
    _write(tuning, Path(args.out), args.json)
    _print(tuning)


def read_parameters(path: Path) -> dict[str, dict[str, Any]]:
    r"""Reads the re-rankers' parameters that :obj:`tg-reid tune` wrote.

    Args:
        path (pathlib.Path): The YAML file: for each re-ranker its parameters by
            name.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        out = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is no YAML file ({error})") from error
    if not isinstance(out, dict) or not all(isinstance(v, dict) for v in out.values()):
        raise ValueError(
            f"'{path}' needs parameters by name for each re-ranker, as in "
            f"'gnn: {{k1: 26, k2: 7}}'"
        )
    return out


def _parse_values(texts: Sequence[str]) -> dict[str, list[Any]]:
    out = {}
    for text in texts:
        name, _, listed = text.partition('=')
        try:
            values = yaml.safe_load(f'[{listed}]')
        except yaml.YAMLError:
            values = []
        if not values:
            raise ValueError(f"'--values' needs NAME=VALUES as fa.k=3,5,8 (got {text})")
        out[name] = [_checked(name, value) for value in values]
    return out


def _checked(name: str, value: Any) -> Any:
    # As the option's own flag would read it; parameters of re-rankers have none.
    section, _, option = name.partition('.')
    if section not in SECTIONS or not option:
        return value
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config)
    try:
        config = parser.instantiate(parser.parse_object({section: {option: value}}))
    except Exception as error:
        raise ValueError(
            f"'--values' needs values that '{name}' can take (got {value!r})"
        ) from error
    return getattr(config[section], option)


def _load(train: str | None, gallery: str | None) -> tuple[Data, Tensor | None]:
    if train is None:
        if gallery is not None:
            raise ValueError("'--gallery' needs '--train' beside it")
        return Omniglot242('train')[0], Omniglot242('gallery')[0].x
    one_file = train == gallery
    data = load_labelled(train, 'training', 'train' if one_file else None)
    if gallery is None:
        return data, None
    return data, load_features(gallery, 'gallery' if one_file else None).x


def _print(tuning: Tuning) -> None:
    print(f'\n{format_table([_trial_row(trial) for trial in tuning.trials])}\n')
    print('# +-: over hold-outs; gain: over the first value of an option')
    rows = [_method_row(trial) for trial in tuning.methods]
    print(f'\n{format_table(rows)}\n')
    before = sum(score.mAP for score in tuning.untouched) / len(tuning.untouched)
    print(f'# mAP of the plain distance on held-out images as they are: {before:.2f}')
    for line in _verdict(tuning):
        print(f'# {line}')


def _verdict(tuning: Tuning) -> list[str]:
    changed = [t for t in tuning.trials if t.chosen and t.better]
    lines = [f'chosen: {t.option}={_text(t.value)}' for t in changed]
    for trial in changed:
        tried = [t.value for t in tuning.trials if t.option == trial.option]
        numbers = all(type(value) in (int, float) for value in tried)
        if numbers and trial.value in (min(tried), max(tried)):
            lines.append(f'{trial.option} is at the end of its values: try more')
    if not changed:
        lines.append('no value beats the one in place clearly: the options stay')
    if tuning.best is None:
        return [*lines, 'nothing beats the plain distance clearly: do not re-rank']
    lines.append(f'best: {tuning.best}')
    if tuning.level:
        lines.append(f'cannot be told from the best: {", ".join(tuning.level)}')
    baseline = tuning.methods[0].row()
    best = next(t.row() for t in tuning.methods if t.method == tuning.best)
    for name in ('mAP', 'rank1'):
        loss = baseline[name] - best[name]
        if loss > 0:
            lines.append(f'but its {name} is {loss:.2f} below the plain distance')
    return lines


def _trial_row(trial: Trial) -> dict[str, str | float]:
    row = trial.row()
    return {
        'option': trial.option,
        'value': _text(trial.value),
        'mAP': row['mAP'],
        '+-': row['mAP_spread'],
        'rank1': row['rank1'],
        'gain': f'{trial.gain:+.2f} +- {trial.spread:.2f}',
        'chosen': '*' if trial.chosen else '',
    }


def _text(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _method_row(trial: Trial) -> dict[str, str | float]:
    row = trial.row()
    plain = trial.method == 'baseline'
    clear = 'better' if trial.better else 'not clearly better'
    if max(trial.gains) < 0:
        clear = 'worse'
    return {
        'method': trial.method,
        'mAP': row['mAP'],
        '+-': row['mAP_spread'],
        'rank1': row['rank1'],
        'gain over baseline': ''
        if plain
        else f'{trial.gain:+.2f} +- {trial.spread:.2f}',
        'so': '' if plain else clear,
    }


def _write(tuning: Tuning, out: Path, json_path: Path | None) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(to_yaml(tuning.config))
    print(f'# options: {out}')
    if tuning.parameters:
        beside = out.with_suffix('.rerank.yaml')
        beside.write_text(yaml.safe_dump(tuning.parameters, sort_keys=False))
        print(f'# parameters of re-rankers: {beside}')
    if json_path is not None:
        rows = {
            'trials': [trial.row() for trial in tuning.trials],
            'methods': [trial.row() for trial in tuning.methods],
            'best': tuning.best,
        }
        write_json(json_path, rows)
        print(f'# rows: {json_path}')
