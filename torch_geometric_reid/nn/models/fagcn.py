import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.typing import Adj, OptTensor

from torch_geometric_reid.nn.conv import FAGCNConv


class FAGCN(torch.nn.Module):
    r"""The feature aggregation network, eq. (2) and (3) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_: layers of
    :class:`~torch_geometric_reid.nn.FAGCNConv` with ReLU, and a linear classifier
    of the training identities that only training needs.

    Args:
        in_channels (int): Size :math:`d` of the backbone's features.
        hidden_channels (int): Size of the aggregated features.
        num_layers (int, optional): Number of layers. (default: :obj:`1`)
        num_classes (int, optional): Number :math:`C` of training identities. If
            not given, there is no classifier. (default: :obj:`None`)
        bias (bool, optional): If set to :obj:`False`, the layers will not learn
            an additive bias. (default: :obj:`True`)
        last_act (bool, optional): If set to :obj:`False`, the last layer has no
            ReLU. (default: :obj:`True`)

    Shapes:
        - **input:** features :math:`(N, d)`, and the graph of
          :class:`~torch_geometric_reid.transforms.AffinityGraph`: edge indices
          :math:`(2, |\mathcal{E}|)`, edge weights :math:`(|\mathcal{E}|)`
        - **output:** logits :math:`(N, C)`; :meth:`encode` gives the new
          features :math:`(N, F_{hidden})` of unit length
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int = 1,
        num_classes: int | None = None,
        bias: bool = True,
        last_act: bool = True,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.num_layers = num_layers
        self.last_act = last_act
        self.convs = torch.nn.ModuleList(
            FAGCNConv(hidden_channels if i else in_channels, hidden_channels, bias)
            for i in range(num_layers)
        )
        self.classifier: Linear | None = None
        if num_classes is not None:
            self.classifier = Linear(hidden_channels, num_classes)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for conv in self.convs:
            conv.reset_parameters()
        if self.classifier is not None:
            self.classifier.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None
    ) -> Tensor:
        return self.classify(self.embed(x, edge_index, edge_weight))

    def encode(
        self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None
    ) -> Tensor:
        r"""Returns the new features, of unit length."""
        return F.normalize(self.embed(x, edge_index, edge_weight))

    def encode_rows(self, x: Tensor, gathered: Tensor) -> Tensor:
        r"""Returns the new features of single rows from their old features and
        their rows of :math:`\mathbf{\tilde{A}} \mathbf{X}`; for one layer only.
        """
        if self.num_layers != 1:
            raise ValueError(
                f'Rows can be encoded alone by a model of one layer only '
                f"(got 'num_layers={self.num_layers}')"
            )
        return F.normalize(self._act(0, self.convs[0].combine(x, gathered)))

    def embed(
        self,
        x: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        gathered: OptTensor = None,
    ) -> Tensor:
        r"""Returns the output of the last layer, before normalisation.

        Args:
            x (torch.Tensor): The features.
            edge_index (torch.Tensor or EdgeIndex): The edges.
            edge_weight (torch.Tensor, optional): The edge weights.
            gathered (torch.Tensor, optional): :math:`\mathbf{\tilde{A}}
                \mathbf{X}`, if already known: it stays the same in training.
        """
        for i, conv in enumerate(self.convs):
            if gathered is None:
                gathered = conv.gather((x, x), edge_index, edge_weight)
            x = self._act(i, conv.combine(x, gathered))
            gathered = None
        return x

    def classify(self, z: Tensor) -> Tensor:
        r"""Returns the logits :math:`(N, C)` of eq. (3)."""
        if self.classifier is None:
            raise ValueError("The model has no classifier: 'num_classes' was not given")
        return self.classifier(z)

    def _act(self, layer: int, x: Tensor) -> Tensor:
        return x.relu() if self.last_act or layer < self.num_layers - 1 else x

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, {self.hidden_channels}, '
            f'num_layers={self.num_layers})'
        )
