from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class ReadNodes(BaseTransform):
    r"""Gives the nodes of a sampled batch what is known of them, read where it lies:
    features on a GPU are not copied to the loader's workers and back.

    Reads :obj:`n_id` :math:`(|\mathcal{V}|)` of a batch; adds one attribute of shape
    :math:`(|\mathcal{V}|, *)` for each argument.

    Args:
        **values (torch.Tensor): What is known of all nodes :math:`(N, *)`, by the
            attribute's name.
    """

    def __init__(self, **values: Tensor):
        self.values = values

    def forward(self, data: Data) -> Data:
        for name, value in self.values.items():
            data[name] = value[data.n_id.to(value.device)]
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({", ".join(self.values)})'
