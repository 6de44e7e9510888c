r"""The options that can be tuned, by name: :obj:`fa.k`, :obj:`gnn.k2` and so on."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from torch import Tensor

from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.rerank import (
    expanded_cross_neighborhood,
    gcr,
    gnn,
    k_reciprocal,
    query_expansion,
)

RE_RANKERS: dict[str, Callable[..., Tensor]] = {
    'k_reciprocal': k_reciprocal,
    'gnn': gnn,
    'qe': partial(query_expansion, database=True),
    'ecn': expanded_cross_neighborhood,
    'gcr': gcr,
}
SECTIONS = ('fa', 'ec', 'rank', 'links')

# In the order of the search. Those of learned links, which take minutes, are tuned
# when they are named.
VALUES: dict[str, tuple[Any, ...]] = {
    'k_reciprocal.k1': (10, 20, 30),
    'k_reciprocal.k2': (3, 6, 10),
    'k_reciprocal.lambda_value': (0.1, 0.3, 0.5),
    'gnn.k1': (13, 26, 40),
    'gnn.k2': (4, 7, 10),
    'qe.k': (3, 5, 10),
    'qe.alpha': (1.0, 3.0, 5.0),
    'ecn.k': (15, 25, 40),
    'ecn.t': (2, 3, 5),
    'ecn.q': (4, 8, 12),
    'gcr.k': (8, 15, 25),
    'gcr.beta': (0.1, 0.2, 0.4),
    'fa.k': (3, 5, 10, 20),
    'ec.num_neighbors': ((20, 5), (50, 5), (100, 5)),
    'rank.weight': (0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
    'links.k': (25, 50, 100),
    'links.beta': (1.0, 2.0, 3.0, 4.0),
}


@dataclass(frozen=True)
class TunedOptions:
    r"""Options of the pipeline and parameters of the re-rankers without training.

    Args:
        config (Config): The options.
        parameters (dict): For each re-ranker its parameters by name.
    """

    config: Config
    parameters: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, config: Config) -> 'TunedOptions':
        r"""Returns a configuration and the re-rankers' default parameters, those of
        :meth:`~torch_geometric_reid.rerank.k_reciprocal` as it says.
        """
        out = {method: _defaults(function) for method, function in RE_RANKERS.items()}
        values = config.rank.k_reciprocal
        out['k_reciprocal'] = dict(zip(out['k_reciprocal'], values, strict=True))
        return cls(config, out)

    def __getitem__(self, name: str) -> Any:
        section, option = _split(name)
        if section in RE_RANKERS:
            known = dict(self.parameters[section])
        else:
            part = getattr(self.config, section)
            if part is None:
                raise ValueError(
                    f"'{name}' cannot be tuned, as '{section}' is left out of the "
                    f'configuration'
                )
            known = {field.name: getattr(part, field.name) for field in fields(part)}
        if option not in known:
            raise ValueError(
                f"'{section}' has no option {option!r} (expected one of "
                f'{", ".join(known)})'
            )
        return known[option]

    def replace(self, name: str, value: Any) -> 'TunedOptions':
        r"""Returns these options with another value of one of them."""
        before = self[name]
        section, option = _split(name)
        if isinstance(before, tuple):
            value = tuple(value)
        if section not in RE_RANKERS:
            part = replace(getattr(self.config, section), **{option: value})
            return replace(self, config=replace(self.config, **{section: part}))
        own = {**self.parameters[section], option: value}
        config = self.config
        if section == 'k_reciprocal':
            rank = replace(config.rank, k_reciprocal=tuple(own.values()))
            config = replace(config, rank=rank)
        return replace(
            self, config=config, parameters={**self.parameters, section: own}
        )

    def method(self, name: str) -> str:
        r"""Returns the method, by its name in
        :meth:`~torch_geometric_reid.pipeline.compare`, that an option is tuned on.
        """
        section = _split(name)[0]
        if section not in ('ec', 'rank'):
            return section
        parts = [
            part for part in ('fa', 'ec') if getattr(self.config, part) is not None
        ]
        return '+'.join(parts) or 'baseline'


def choose_values(
    config: Config,
    options: Sequence[str] | None = None,
    values: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, tuple[Any, ...]]:
    r"""Returns the values to try for each option, in the order of the search.

    Args:
        config (Config): The options to start from.
        options (list, optional): The options to tune. By default those with
            :obj:`values`, if there are any, else all but those of learned links and
            of networks that the configuration leaves out. (default: :obj:`None`)
        values (dict, optional): The values of options, in the place of the
            defaults. (default: :obj:`None`)

    Raises:
        ValueError: If an option is unknown, left out, or has no values.
    """
    values = {} if values is None else values
    start = TunedOptions.of(config)
    if options is None:
        options = list(values) or [
            name
            for name in VALUES
            if _split(name)[0] != 'links'
            and not (name.startswith('fa.') and config.fa is None)
            and not (name.startswith(('ec.', 'rank.')) and config.ec is None)
        ]
    out = {}
    for name in [*options, *(name for name in values if name not in options)]:
        before = start[name]
        tried = values.get(name, VALUES.get(name))
        if not tried:
            raise ValueError(f"'{name}' needs values to try (as in '{name}={before}')")
        out[name] = tuple(start.replace(name, value)[name] for value in tried)
    return out


def _split(name: str) -> tuple[str, str]:
    section, _, option = name.partition('.')
    known = (*SECTIONS, *RE_RANKERS)
    if section not in known or not option:
        raise ValueError(
            f"'options' needs names such as 'fa.k', with a first part of "
            f'{", ".join(known)} (got {name!r})'
        )
    return section, option


def _defaults(function: Callable[..., Tensor]) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
