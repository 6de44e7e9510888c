from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from torch_geometric_reid.checks import check_features, check_ids
from torch_geometric_reid.optional import require
from torch_geometric_reid.visualization.figure import new_figure
from torch_geometric_reid.visualization.separation import identity_distances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERPLEXITY = 30
MIN_IMAGES = 5
MARKERS = 'osD^vP'


def plot_tsne(features: Mapping[str, Any], y: Any, seed: int = 0) -> 'Figure':
    r"""Draws features in the plane by `t-SNE
    <https://www.jmlr.org/papers/v9/vandermaaten08a.html>`_, a panel for each kind,
    an identity by colour and marker.

    Titles hold the mean distances of :meth:`identity_distances`: what a picture
    shows of closeness is not to scale, as t-SNE spreads dense groups.

    Args:
        features (dict): The features :math:`(N, d)` of the same images by the name
            of their kind.
        y (torch.Tensor): Their identities :math:`(N)`.
        seed (int, optional): The seed. (default: :obj:`0`)

    Returns:
        matplotlib.figure.Figure: With the axes of each kind.

    Raises:
        ImportError: If matplotlib or scikit-learn is not installed.
        ValueError: If there are no features, fewer than five images, or
            identities of another length.
    """
    if not features:
        raise ValueError("'features' needs at least one kind of features (got none)")
    manifold = require('sklearn.manifold', 't-SNE', 'plot')
    figure = new_figure(4.2 * len(features), 4.4, layout='constrained')
    panels = figure.subplots(1, len(features), squeeze=False)[0]
    for axes, (name, x) in zip(panels, features.items(), strict=True):
        x = check_features(f'features[{name!r}]', x, nonzero=True).cpu()
        if len(x) < MIN_IMAGES:
            raise ValueError(
                f"'features' needs at least {MIN_IMAGES} images (got {len(x)})"
            )
        identity = check_ids('y', y, len(x)).cpu().unique(return_inverse=True)[1]
        tsne = manifold.TSNE(
            perplexity=min(PERPLEXITY, (len(x) - 1) / 3),
            init='pca' if x.size(1) > 1 else 'random',
            random_state=seed,
        )
        place = tsne.fit_transform(F.normalize(x).numpy())
        _scatter(axes, place, identity)
        within, between = identity_distances(x, identity)
        axes.set_title(f'{name}\nwithin {within:.3f}, between {between:.3f}', size=10)
        axes.set(xticks=[], yticks=[])
    return figure


def _scatter(axes: Any, place: Any, identity: torch.Tensor) -> None:
    num = int(identity.max()) + 1
    colours = (
        require('matplotlib', 'A picture', 'plot')
        .colormaps['tab10' if num <= 10 else 'tab20']
        .colors
    )
    for i in range(num):
        of = (identity == i).numpy()
        axes.scatter(
            *place[of].T,
            s=16,
            color=colours[i % len(colours)],
            marker=MARKERS[i // len(colours) % len(MARKERS)],
            linewidths=0,
        )
