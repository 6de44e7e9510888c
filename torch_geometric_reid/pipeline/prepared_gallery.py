r"""A gallery that is prepared once and answers probes one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_choice, check_ids, check_positive
from torch_geometric_reid.pipeline.aggregate import GRAPHS
from torch_geometric_reid.pipeline.stores import Store
from torch_geometric_reid.pipeline.trust import Trust
from torch_geometric_reid.topk import stable_topk

PROBES = 64  # answered at a time


@dataclass(eq=False)
class Matches:
    r"""The nearest gallery images of probes, nearest first.

    Attributes:
        index: Their positions in the gallery :math:`(Q, k)`.
        distance: The distances :math:`(Q, k)`.
        connectivity: The probabilities of a link :math:`(Q, k)`, zero for images
            that were not scored.
        graph: The graph that the distances are of.
        probability: The calibrated probabilities of one identity :math:`(Q, k)`, if
            the re-ranker has a :class:`~torch_geometric_reid.pipeline.Trust` of the
            graph that was asked for.
        ids: Their ids :math:`(Q, k)`, if the gallery has any.
        names: Their names, if the gallery has any.
    """

    index: Tensor
    distance: Tensor
    connectivity: Tensor
    graph: str
    probability: Tensor | None = None
    ids: Tensor | None = None
    names: list[list[str]] | None = None


class PreparedGallery:
    r"""The images of a gallery, their ids and names, and what a recipe keeps of them.

    Args:
        store (Store): What the recipe keeps.
        num_images (int): The number :math:`G` of images.
        ids (torch.Tensor or list, optional): An integer for each image
            :math:`(G)`. (default: :obj:`None`)
        names (list, optional): A name for each image :math:`(G)`.
            (default: :obj:`None`)

    Raises:
        TypeError: If ids are no integers or names no strings.
        ValueError: If there are not as many as images.
    """

    def __init__(
        self,
        store: Store,
        num_images: int,
        ids: Any = None,
        names: Sequence[str] | None = None,
    ):
        self.store = store
        self.num_images = num_images
        self.ids, self.names = check_labels(ids, names, num_images)

    def tensors(self) -> dict[str, Tensor]:
        r"""Returns all but the names."""
        out = self.store.tensors()
        return out if self.ids is None else {**out, 'ids': self.ids}

    def query(
        self, query: Tensor, top: int, graph: str, trust: Trust | None = None
    ) -> Matches:
        r"""Returns the nearest images of probes.

        Args:
            query (torch.Tensor): Features of the probes :math:`(Q, d)` of unit
                length.
            top (int): The number :math:`k`, cut to :math:`G`.
            graph (str): :obj:`"probe"`, :obj:`"gallery"` or :obj:`"joint"`.
            trust (Trust, optional): What turns distances into probabilities. One
                that was fitted to another graph is left out. (default: :obj:`None`)
        """
        check_positive('top', top)
        check_choice('graph', graph, GRAPHS)
        top = min(top, self.num_images)
        size = len(query) if graph == 'joint' else PROBES
        parts = [self._query(part, top, graph) for part in query.split(size)]
        index, distance, connectivity = map(torch.cat, zip(*parts, strict=True))
        out = Matches(index, distance, connectivity, graph)
        if trust is not None and trust.graph in (None, graph):
            out.probability = trust.probability(distance)
        if self.ids is not None:
            out.ids = self.ids[index]
        if self.names is not None:
            names = self.names
            out.names = [[names[i] for i in row] for row in index.tolist()]
        return out

    def _query(
        self, query: Tensor, top: int, graph: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        distance, image, connectivity = self.store.read(query, graph)
        best = stable_topk(-distance, top)
        scored = torch.zeros_like(distance)
        scored.scatter_reduce_(1, image, connectivity, 'amax')
        index = best.index
        return index.cpu(), -best.score.cpu(), scored.gather(1, index).cpu()

    def add(
        self, gallery: Tensor, ids: Any = None, names: Sequence[str] | None = None
    ) -> 'PreparedGallery':
        r"""Returns the gallery with images behind those that are there.

        Args:
            gallery (torch.Tensor): Their features :math:`(A, d)` of unit length.
            ids (torch.Tensor or list, optional): Their ids :math:`(A)`, if the
                gallery has any. (default: :obj:`None`)
            names (list, optional): Their names :math:`(A)`, if the gallery has any.
                (default: :obj:`None`)

        Raises:
            ValueError: If ids or names are missing, or given to a gallery without.
        """
        num_added = gallery.size(0)
        for name, old, new in [('ids', self.ids, ids), ('names', self.names, names)]:
            if (old is None) != (new is None):
                there = 'has none' if old is None else 'has them'
                raise ValueError(
                    f"'{name}' need to be given for all images or for none (the "
                    f'gallery {there})'
                )
        if ids is not None and self.ids is not None:
            ids = torch.cat([self.ids, check_ids('ids', ids, num_added).cpu()])
        if names is not None and self.names is not None:
            names = [*self.names, *_check_names(names, num_added)]
        kept = torch.ones(self.num_images, dtype=torch.bool, device=gallery.device)
        store = self.store.change(gallery, kept)
        return PreparedGallery(store, self.num_images + num_added, ids, names)

    def remove(self, index: Any, empty: Tensor) -> 'PreparedGallery':
        r"""Returns the gallery without some images; those behind them move up.

        Args:
            index (torch.Tensor or list): Their positions :math:`(R)`, or their names,
                each of which stands for all images of that name.
            empty (torch.Tensor): No features, :math:`(0, d)`.

        Raises:
            TypeError: If positions are no integers.
            ValueError: If one is out of range, a name is unknown, or fewer than two
                images are left.
        """
        if len(index) == 0:
            return self
        if isinstance(index, str):
            index = [index]
        if isinstance(index, Sequence) and any(isinstance(i, str) for i in index):
            index = self._positions(index)
        index, num = check_ids('index', index, len(index)), self.num_images
        index = index.to(empty.device)
        if not 0 <= index.min() <= index.max() < num:
            raise ValueError(
                f"'index' needs positions between 0 and {num - 1} (got "
                f'{int(index.min())} to {int(index.max())})'
            )
        kept = torch.ones(num, dtype=torch.bool, device=empty.device)
        kept[index] = False
        if kept.sum() < 2:
            raise ValueError(
                f"'index' needs to leave at least two images (got all but "
                f'{int(kept.sum())} of {num})'
            )
        store = self.store.change(empty, kept)
        place = kept.nonzero().view(-1).cpu()
        ids = None if self.ids is None else self.ids[place]
        names = self.names
        if names is not None:
            names = [names[i] for i in place.tolist()]
        return PreparedGallery(store, place.numel(), ids, names)

    def __repr__(self) -> str:
        labels = {'ids': self.ids, 'names': self.names}
        has = [name for name, value in labels.items() if value is not None]
        parts = [f'{self.num_images} images', *has]
        return f'{self.__class__.__name__}({", ".join(parts)})'

    def _positions(self, names: Sequence[str]) -> list[int]:
        known = set(self.names or ())
        for name in names:
            if name not in known:
                raise ValueError(
                    f"'index' needs positions, or names of the gallery (got {name!r}, "
                    f'and the gallery has {len(known)} names)'
                )
        wanted = set(names)
        return [i for i, name in enumerate(self.names or ()) if name in wanted]


def check_labels(
    ids: Any, names: Sequence[str] | None, size: int
) -> tuple[Tensor | None, list[str] | None]:
    r"""Returns copies of the ids and names of images, if any.

    Raises:
        TypeError: If ids are no integers or names no strings.
        ValueError: If there are not as many as images.
    """
    if ids is not None:
        ids = check_ids('ids', ids, size).cpu().clone()
    return ids, None if names is None else _check_names(names, size)


def _check_names(names: Sequence[str], size: int) -> list[str]:
    names = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in names):
        raise TypeError("'names' needs strings")
    if len(names) != size:
        raise ValueError(
            f"'names' needs one name for each of {size} images (got {len(names)})"
        )
    return names
