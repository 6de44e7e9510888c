import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.nn import listwise_loss
from torch_geometric_reid.transforms.refine_pairs import aggregate_links

SHARPNESS = 10.0


class LinkContrast:
    r"""The loss of a ranking by features that are aggregated along the links being
    learned.

    A probe's image :math:`j` has the score

    .. math::
        s_j = 10 \cos(\mathbf{z}_p, \bar{\mathbf{z}}_j), \quad
        \mathbf{z}_p \propto \beta \mathbf{x}_p + \sum_k p_{pk} \mathbf{x}_k,

    with the probabilities :math:`p` that are being learned and
    :math:`\bar{\mathbf{z}}` by links that stay, for
    :meth:`~torch_geometric_reid.nn.listwise_loss`.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        neighbor (torch.Tensor): The nodes :math:`(N, K)` that each node reads.
        link (torch.Tensor): The links that stay :math:`(N, K)`.
        beta (float): The weight :math:`\beta` of a node itself.

    Attributes:
        target (torch.Tensor): The features :math:`\bar{\mathbf{z}}`.
    """

    def __init__(self, x: Tensor, neighbor: Tensor, link: Tensor, beta: float):
        self.x = x
        self.beta = beta
        self.target = aggregate_links(x, neighbor, link, beta)

    def __call__(self, batch: Data, logit: Tensor) -> Tensor:
        r"""Returns the loss of a batch of sub-graphs.

        Args:
            batch (Data): The sub-graphs of :math:`B` probes, each with as many
                images, with :obj:`n_id`, :obj:`num_sampled_nodes` and
                :obj:`edge_label` :math:`(B K)`.
            logit (torch.Tensor): The logits of the links :math:`(B K)`.
        """
        num_probes, num_images = batch.num_sampled_nodes[:2]
        probe, image = batch.n_id[: num_probes + num_images].split(
            [num_probes, num_images]
        )
        image = image.view(num_probes, -1)
        weight = logit.sigmoid().view_as(image).unsqueeze(1)
        z = self.beta * self.x[probe] + (weight @ self.x[image]).squeeze(1)
        target = self.target[image]
        score = SHARPNESS * (target @ F.normalize(z).unsqueeze(-1)).squeeze(-1)
        return listwise_loss(score, batch.edge_label.view_as(image))
