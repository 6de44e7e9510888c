import warnings

import torch
from torch import Tensor


def csr_matrix(ptr: Tensor, col: Tensor, value: Tensor, num_cols: int) -> Tensor:
    r"""Returns a matrix in PyTorch's CSR layout.

    Args:
        ptr (torch.Tensor): Where each row begins, and where the last one ends
            :math:`(M + 1)`.
        col (torch.Tensor): The column of each entry :math:`(E)`, row by row.
        value (torch.Tensor): Its value :math:`(E)`.
        num_cols (int): The number of columns.
    """
    size = (ptr.numel() - 1, num_cols)
    return torch.sparse_csr_tensor(ptr, col, value, size, check_invariants=False)


with warnings.catch_warnings():  # PyTorch says once that this layout is new
    warnings.simplefilter('ignore')
    csr_matrix(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), 1)
