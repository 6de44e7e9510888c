from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class CenterProbe(BaseTransform):
    r"""Subtracts from each node of a sampled batch the features of its probe,
    :math:`\mathbf{x}_i - \mathbf{x}_p`, so that the probe itself becomes zero.

    Reads :obj:`x` :math:`(|\mathcal{V}|, d)` and :obj:`batch`
    :math:`(|\mathcal{V}|)`, the position of each node's probe; replaces :obj:`x`.
    """

    def forward(self, data: Data) -> Data:
        data.x = data.x - data.x[data.batch]
        return data
