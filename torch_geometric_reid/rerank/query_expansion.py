from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.knn import knn
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import check_at_least_zero, unit_features
from torch_geometric_reid.rerank.sparse import from_table


@full_precision()
def expand_features(
    query: Any,
    gallery: Any,
    k: int = 5,
    alpha: float = 3.0,
    database: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Moves each probe towards its nearest gallery items: :math:`\alpha`-weighted
    query expansion, from `"Fine-tuning CNN Image Retrieval with No Human
    Annotation" <https://arxiv.org/abs/1711.02512>`_.

    With features of unit length and :math:`N(p)` the :math:`k` gallery items
    nearest to :math:`\mathbf{x}_p`,

    .. math::
        \mathbf{x}^{\prime}_p \propto \mathbf{x}_p + \sum_{g \in N(p)}
        \max(\mathbf{x}_p^{\top} \mathbf{x}_g, 0)^{\alpha} \, \mathbf{x}_g.

    The item itself is not counted in :math:`k` and has weight one. Probes do
    not see each other.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int, optional): The number of gallery items. Cut with a warning to
            the number that there are. (default: :obj:`5`)
        alpha (float, optional): The power :math:`\alpha \geq 0` of the cosine;
            zero gives the plain mean. (default: :obj:`3.0`)
        database (bool, optional): If set to :obj:`True`, the gallery items are
            first moved in the same way, each towards its :math:`k` nearest
            others, and the probes then towards the moved ones (database-side
            augmentation). (default: :obj:`False`)

    Returns:
        The new features of probes and gallery, of unit length. Without
        :obj:`database`, those of the gallery are the old ones.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.
    """
    query, gallery = unit_features(query, gallery)
    check_positive('k', k)
    check_at_least_zero('alpha', alpha)
    num_gallery = gallery.size(0)
    k = cut('k', k, num_gallery, stacklevel=4)
    if database and num_gallery > 1:
        neighbor = knn(gallery, min(k, num_gallery - 1), metric='ip')
        gallery = _move(gallery, gallery, neighbor, alpha)
    neighbor = knn(gallery, k, query=query, metric='ip')
    return _move(query, gallery, neighbor, alpha), gallery


@full_precision()
def query_expansion(
    query: Any,
    gallery: Any,
    k: int = 5,
    alpha: float = 3.0,
    database: bool = False,
) -> Tensor:
    r"""The cosine distances between the features of :meth:`expand_features`.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int, optional): See :meth:`expand_features`. (default: :obj:`5`)
        alpha (float, optional): See :meth:`expand_features`.
            (default: :obj:`3.0`)
        database (bool, optional): See :meth:`expand_features`.
            (default: :obj:`False`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 2]`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.

    Example:
        >>> query = torch.tensor([[1., 0.]])
        >>> gallery = torch.tensor([[0.8, 0.6], [0., 1.]])
        >>> query_expansion(query, gallery, k=1, alpha=0.0)
        tensor([[0.0513, 0.6838]])
    """
    query, gallery = expand_features(query, gallery, k, alpha, database)
    return 1 - query @ gallery.t()


def _move(x: Tensor, base: Tensor, neighbor: KNNOutput, alpha: float) -> Tensor:
    weight = neighbor.score.clamp(min=0) ** alpha
    weight = from_table(neighbor.index, base.size(0), value=weight)
    return F.normalize(x + torch.sparse.mm(weight, base))
