from torch import Tensor


def listwise_loss(score: Tensor, same: Tensor) -> Tensor:
    r"""The cross entropy between a probe's matches and the softmax over its images,
    the top-one form of `"Learning to Rank: From Pairwise Approach to Listwise
    Approach" <https://doi.org/10.1145/1273496.1273513>`_.

    .. math::
        \ell(\mathbf{s}, M) = - \frac{1}{|M|} \sum_{j \in M}
        \log \frac{\exp s_j}{\sum_k \exp s_k}

    Args:
        score (torch.Tensor): The scores :math:`(N, K)` of the images of each probe,
            :math:`-\infty` for one that is not there.
        same (torch.Tensor): Whether they show its identity :math:`(N, K)`.

    Returns:
        The mean over the probes that have a match; zero if none has.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> import torch
        >>> listwise_loss(torch.zeros(1, 4), torch.tensor([[1, 0, 0, 1]]))
        tensor(1.3863)
    """
    if score.dim() != 2 or score.shape != same.shape:
        raise ValueError(
            f"'score' and 'same' need to be of one shape [N, K] (got "
            f'{list(score.shape)} and {list(same.shape)})'
        )
    num_matches = same.sum(dim=1)
    log_prob = score.log_softmax(dim=1).masked_fill(same == 0, 0)
    loss = -log_prob.sum(dim=1) / num_matches.clamp(min=1)
    return loss.sum() / (num_matches > 0).sum().clamp(min=1)
