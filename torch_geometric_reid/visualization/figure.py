from typing import TYPE_CHECKING

from torch_geometric_reid.optional import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, layout: str | None = None) -> 'Figure':
    r"""Returns an empty figure of a size in inches, of no backend."""
    figure = require('matplotlib.figure', 'A picture', 'plot')
    return figure.Figure((width, height), layout=layout)
