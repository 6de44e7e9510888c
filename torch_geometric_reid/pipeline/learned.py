r"""What a re-ranker has learned, as tensors and back."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.distance import Mahalanobis
from torch_geometric_reid.nn import ECGCN, FAGCN, LinkGCN
from torch_geometric_reid.pipeline.config import Config, LinkConfig
from torch_geometric_reid.pipeline.learn_links import LinkParts
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.mixture import Mixture
from torch_geometric_reid.pipeline.train import make_ec, make_fa
from torch_geometric_reid.pipeline.trust import Trust
from torch_geometric_reid.transforms import IdentityMetric
from torch_geometric_reid.transforms.pair_features import PAIR_FEATURES
from torch_geometric_reid.transforms.refine_pairs import (
    REFINED_FEATURES,
    kept_features,
)


class Learned(NamedTuple):
    r"""What a re-ranker has learned.

    Attributes:
        in_channels: The length of features.
        fa, ec, mahalanobis: Of the paper's recipe, if any.
        links: Of the recipe of links, if any.
        trust: What turns distances into probabilities, if any.
    """

    in_channels: int
    fa: FAGCN | None = None
    ec: ECGCN | None = None
    mahalanobis: Mahalanobis | None = None
    links: LinkReRanker | None = None
    trust: Trust | None = None

    def tensors(self) -> dict[str, Tensor]:
        r"""Returns all of it."""
        out = {'in_channels': torch.tensor(self.in_channels)}
        if self.fa is not None:
            weights = self.fa.state_dict()
            kept = {k: v for k, v in weights.items() if 'classifier' not in k}
            out |= _within('fa', kept)
        if self.ec is not None:
            out |= _within('ec', self.ec.state_dict())
        if self.mahalanobis is not None:
            weight = self.mahalanobis.weight
            shrinkage = torch.tensor(self.mahalanobis.shrinkage)
            out |= _within('mahalanobis', {'weight': weight, 'shrinkage': shrinkage})
        if self.links is not None:
            out |= _within('links.first', self.links.first.state_dict())
            out |= _within('links.second', self.links.second.state_dict())
            out |= _within('links.mixture', self.links.mixture._asdict())
            metric = self.links.metric
            if metric is not None:
                out |= _within('links.metric', {'weight': metric.weight})
        if self.trust is not None:
            out |= _within('trust', self.trust.state_dict())
        return out


def restore(tensors: Mapping[str, Tensor], config: Config) -> Learned:
    r"""Returns what :meth:`Learned.tensors` came from, on the CPU.

    Args:
        tensors (dict): The tensors.
        config (Config): The options that they were learned with.

    Raises:
        ValueError: If tensors are missing or do not fit the options.
    """
    copies = {name: value.clone() for name, value in tensors.items()}
    try:
        return _restore(copies, config)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f'tensors do not fit the options: {error}') from error


def _restore(tensors: Mapping[str, Tensor], config: Config) -> Learned:
    in_channels = int(tensors['in_channels'])
    trust = _part(tensors, 'trust')
    out = Learned(in_channels, trust=Trust.from_state_dict(trust) if trust else None)
    if config.recipe == 'links':
        return out._replace(links=_restore_links(tensors, config.links))
    num_features = in_channels
    if config.fa is not None:
        fa = make_fa(in_channels, None, config.fa)
        fa.load_state_dict(_part(tensors, 'fa'))
        out = out._replace(fa=fa.eval())
        num_features = config.fa.hidden_channels
    if config.ec is not None:
        ec = make_ec(num_features, config.ec)
        ec.load_state_dict(_part(tensors, 'ec'))
        out = out._replace(ec=ec.eval())
    if config.rank.metric.startswith('mahalanobis'):
        part = _part(tensors, 'mahalanobis')
        metric = Mahalanobis.restore(part['weight'], float(part['shrinkage']))
        out = out._replace(mahalanobis=metric)
    return out


def _restore_links(tensors: Mapping[str, Tensor], config: LinkConfig) -> LinkReRanker:
    models = {}
    for name, features in [('first', PAIR_FEATURES), ('second', REFINED_FEATURES)]:
        kept = kept_features(len(features), config.without)
        model = LinkGCN(kept.numel(), config.hidden_channels, config.num_layers)
        model.load_state_dict(_part(tensors, f'links.{name}'))
        models[name] = model.eval()
    metric = None
    if config.metric:
        metric = IdentityMetric.restore(tensors['links.metric.weight'])
    mixture = Mixture(**_part(tensors, 'links.mixture'))
    parts = LinkParts(metric, models['first'], models['second'], mixture, None, {})
    return LinkReRanker.restore(config, parts)


def _within(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f'{name}.{key}': value for key, value in tensors.items()}


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f'{name}.'
    return {k[len(start) :]: v for k, v in tensors.items() if k.startswith(start)}
