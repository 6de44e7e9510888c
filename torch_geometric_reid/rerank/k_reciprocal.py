from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.checks import check_features, check_positive, cut
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import check_fraction, unit_features
from torch_geometric_reid.rerank.ranking import (
    BLOCK_ELEMENTS,
    FeatureDistance,
    GivenDistance,
)
from torch_geometric_reid.rerank.reciprocal import (
    ListSizes,
    ReciprocalEncoding,
    jaccard_fusion,
    relative,
)
from torch_geometric_reid.rerank.sparse import InvertedLists, slice_rows
from torch_geometric_reid.topk import stable_topk


@full_precision()
def k_reciprocal(
    query: Any,
    gallery: Any,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> Tensor:
    r"""The re-ranked distances of `"Re-ranking Person Re-identification with
    k-reciprocal Encoding" <https://arxiv.org/abs/1701.08398>`_, as its public
    code computes them.

    Over probes and gallery together, with :math:`d_{ij}` the squared Euclidean
    distance between the features at unit length, divided by its maximum over
    :math:`j`, and :math:`N_i(k)` the item :math:`i` itself and its :math:`k`
    nearest others,

    .. math::
        \mathcal{R}_i(k) &= \{ j \in N_i(k) : i \in N_j(k) \}

        \mathcal{R}^{*}_i &= \mathcal{R}_i(k_1) \cup \bigcup \left\{
        \mathcal{R}_j(\tfrac{k_1}{2}) : j \in \mathcal{R}_i(k_1), \,
        |\mathcal{R}_j(\tfrac{k_1}{2}) \cap \mathcal{R}_i(k_1)| > \tfrac{2}{3}
        |\mathcal{R}_j(\tfrac{k_1}{2})| \right\}

        V_{ij} &\propto e^{-d_{ij}} \textrm{ for } j \in \mathcal{R}^{*}_i,
        \qquad \sum_j V_{ij} = 1, \qquad
        \mathbf{\bar{v}}_i = \frac{1}{k_2} \sum_{j \in N_i(k_2 - 1)} \mathbf{v}_j

        d^{*}_{pg} &= (1 - \lambda) \left( 1 - \frac{\sum_j \min(\bar{v}_{pj},
        \bar{v}_{gj})}{\sum_j \max(\bar{v}_{pj}, \bar{v}_{gj})} \right) + \lambda
        d_{pg}.

    All of it is sparse: no array of :math:`(Q + G)^2` numbers is ever held, and
    the product :math:`\mathbf{X} \mathbf{X}^{\top}` takes most of the time. An
    item is the first on its own list. Where a list's end falls between items
    of equal cosine (in float64, rounded to float32), the one with the smaller
    index is nearer, probes before gallery. Distances within rounding are zero.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k1 (int, optional): The number of others on a list, half of it rounded
            to the even number where two are as near. Cut with a warning to
            the number that there are. (default: :obj:`20`)
        k2 (int, optional): The number of items in a mean, the item itself
            included. (default: :obj:`6`)
        lambda_value (float, optional): The weight :math:`\lambda \in [0, 1]` of
            the original distance. (default: :obj:`0.3`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 1]`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.

    Example:
        >>> query = torch.tensor([[1., 0.]])
        >>> gallery = torch.tensor([[0.8, 0.6], [0.6, 0.8], [-0.6, 0.8], [-1., 0.]])
        >>> k_reciprocal(query, gallery, k1=2, k2=2)
        tensor([[0.0867, 0.1167, 0.9400, 1.0000]])
    """
    query, gallery = unit_features(query, gallery)
    distance = FeatureDistance(torch.cat([query, gallery]), query.size(0))
    sizes = ListSizes.of(k1, k2, distance.num_nodes)
    return _dense(distance, sizes, lambda_value)


@full_precision()
def k_reciprocal_topk(
    query: Any,
    gallery: Any,
    k: int,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> KNNOutput:
    r"""The :math:`k` best gallery items of each probe under the distances of
    :meth:`k_reciprocal`, without a matrix :math:`(Q, G)`.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int): The number of gallery items. Cut with a warning to the number
            that there are.
        k1 (int, optional): See :meth:`k_reciprocal`. (default: :obj:`20`)
        k2 (int, optional): See :meth:`k_reciprocal`. (default: :obj:`6`)
        lambda_value (float, optional): See :meth:`k_reciprocal`.
            (default: :obj:`0.3`)

    Returns:
        PyG's :class:`~torch_geometric.nn.pool.knn.KNNOutput`, best first, equal
        ones by index: the distances :obj:`score` and the gallery items
        :obj:`index`, both of shape :math:`(Q, \min(k, G))`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.
    """
    check_positive('k', k)
    query, gallery = unit_features(query, gallery)
    k = cut('k', k, gallery.size(0), stacklevel=4)
    distance = FeatureDistance(torch.cat([query, gallery]), query.size(0))
    sizes = ListSizes.of(k1, k2, distance.num_nodes)
    outs = [
        stable_topk(block.neg_(), k) for block in _blocks(distance, sizes, lambda_value)
    ]
    score = -torch.cat([out.score for out in outs])
    return KNNOutput(score, torch.cat([out.index for out in outs]))


@full_precision()
def k_reciprocal_from_distance(
    query_gallery: Any,
    query_query: Any,
    gallery_gallery: Any,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> Tensor:
    r"""The re-ranked distances of :meth:`k_reciprocal` from given distances.

    As in the public code, the distances are squared first: give it Euclidean
    distances, not their squares.

    Args:
        query_gallery (torch.Tensor): The distances :math:`(Q, G)`.
        query_query (torch.Tensor): The symmetric distances :math:`(Q, Q)`.
        gallery_gallery (torch.Tensor): The symmetric distances :math:`(G, G)`.
        k1 (int, optional): See :meth:`k_reciprocal`. (default: :obj:`20`)
        k2 (int, optional): See :meth:`k_reciprocal`. (default: :obj:`6`)
        lambda_value (float, optional): See :meth:`k_reciprocal`.
            (default: :obj:`0.3`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 1]`.

    Raises:
        TypeError: If distances are no floating-point tensors.
        ValueError: If distances are empty, not finite or negative, shapes do
            not fit, or a parameter is out of its range.
    """
    query_gallery = _check_distance('query_gallery', query_gallery)
    num_query, num_gallery = query_gallery.shape
    query_query = _check_distance('query_query', query_query, num_query)
    gallery_gallery = _check_distance('gallery_gallery', gallery_gallery, num_gallery)
    distance = GivenDistance(query_gallery, query_query, gallery_gallery)
    sizes = ListSizes.of(k1, k2, distance.num_nodes)
    return _dense(distance, sizes, lambda_value)


def _dense(
    distance: FeatureDistance | GivenDistance, sizes: ListSizes, lambda_value: float
) -> Tensor:
    num_gallery = distance.num_nodes - distance.num_query
    out = torch.empty(distance.num_query, num_gallery, device=distance.device)
    start = 0
    for block in _blocks(distance, sizes, lambda_value):
        out[start : start + block.size(0)] = block
        start += block.size(0)
    return out


def _blocks(
    distance: FeatureDistance | GivenDistance, sizes: ListSizes, lambda_value: float
) -> Iterator[Tensor]:
    check_fraction('lambda_value', lambda_value)
    ranking = distance.rank(set(sizes))
    encoding = ReciprocalEncoding(distance, ranking, sizes)
    code = encoding.encode(ranking.neighbor[:, 0])
    num_query, num_nodes = distance.num_query, distance.num_nodes
    lists = InvertedLists(slice_rows(code, num_query, num_nodes))

    step = max(1, BLOCK_ELEMENTS // (num_nodes - num_query))
    for start in range(0, num_query, step):
        stop = min(start + step, num_query)
        farthest = ranking.farthest[start:stop].view(-1, 1)
        yield jaccard_fusion(
            lists.min_sum(slice_rows(code, start, stop)),
            relative(distance.to_gallery(start, stop), farthest),
            lambda_value,
        )


def _check_distance(name: str, distance: Any, size: int | None = None) -> Tensor:
    distance = check_features(name, distance).detach()
    if size is not None and list(distance.shape) != [size, size]:
        raise ValueError(
            f"'{name}' needs to be of shape [{size}, {size}] to fit "
            f"'query_gallery' (got shape {list(distance.shape)})"
        )
    if distance.amin() < 0:
        raise ValueError(
            f"'{name}' needs distances of at least 0 (got {float(distance.amin())})"
        )
    return distance
