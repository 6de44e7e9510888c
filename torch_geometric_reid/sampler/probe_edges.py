import numpy as np

from torch_geometric_reid.sampler.edge_lists import EdgeLists


class LastPlaces:
    r"""The last place in each gallery image's list, which a probe can take.

    Args:
        listed (numpy.ndarray): The images that each gallery image lists
            :math:`(N, e)`.
        edges (EdgeLists): Their graph.
        symmetric (bool): See :class:`EdgeLists`.
    """

    def __init__(self, listed: np.ndarray, edges: EdgeLists, symmetric: bool):
        node, self.image = np.arange(len(listed)), listed[:, -1]
        self.mutual = (listed[self.image] == node.reshape(-1, 1)).any(axis=1)
        self.forth = edges.find(self.image, node)
        self.back = edges.find(node, self.image) if symmetric else None


class ProbeEdges:
    r"""The edges of test probes, each of which joins the gallery's graph alone: it
    lists its nearest images, and takes the last place in the lists of images that
    it is nearer to than what they list there.

    Args:
        edges (EdgeLists): The gallery's graph.
        last (LastPlaces, optional): The gallery's last places; none where lists have
            a place left.
        probe_listed (numpy.ndarray): The images that each probe lists
            :math:`(Q, e)`.
        inserted (numpy.ndarray): Pairs (probe, image) :math:`(2, P)`, sorted by
            probe, where an image lists the probe.
        symmetric (bool): See :class:`EdgeLists`.
        self_loops (bool): See :class:`EdgeLists`.
    """

    def __init__(
        self,
        edges: EdgeLists,
        last: LastPlaces | None,
        probe_listed: np.ndarray,
        inserted: np.ndarray,
        symmetric: bool,
        self_loops: bool,
    ):
        self.edges = edges
        self.last = last
        self.probe_listed = probe_listed
        self.inserted = inserted[1]
        self.start = inserted[0].searchsorted(np.arange(len(probe_listed) + 1))
        self.symmetric = symmetric
        self.self_loops = self_loops

    def induced(
        self, probe: int, image: np.ndarray, position: np.ndarray, place: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Returns the edges between a probe and some images, as
        :meth:`EdgeLists.induced` does.

        Args:
            probe (int): The probe.
            image (numpy.ndarray): The images :math:`(n)`.
            position (numpy.ndarray): The places of the probe and the images
                :math:`(1 + n)`, those of the images ascending.
            place (numpy.ndarray): The place of each gallery image, -1 for those that
                are not there and behind them :math:`(N + 1)`.
        """
        own, position = position[0], position[1:]
        listing = self.inserted[self.start[probe] : self.start[probe + 1]]
        lost = None
        if self.last is not None:
            column, entry = _lost(self.last, listing, place)
            lost = position.searchsorted(column), entry
        row, count = self.edges.induced(image, place, lost)
        sources, targets = place[self.probe_listed[probe]], place[listing]
        sources, targets = sources[sources >= 0], np.unique(targets[targets >= 0])
        if self.symmetric:
            sources = targets = np.union1d(sources, targets)
        target = position.searchsorted(targets)
        row = np.insert(row, count.cumsum()[target], own)
        count[target] += 1
        if self.self_loops:
            sources = np.append(sources, own)
        return np.concatenate([sources, row]), np.concatenate([[sources.size], count])


def _lost(
    last: LastPlaces, listing: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # An image no longer lists its last. In a symmetric graph their edges stay
    # where that one still lists the image.
    image = listing[(place[listing] >= 0) & (place[last.image[listing]] >= 0)]
    other = last.image[image]
    if last.back is None:
        return place[image], last.forth[image]
    both = (other.reshape(-1, 1) == image) & (last.image[image] == image[:, None])
    gone = ~last.mutual[image] | both.any(axis=1)
    image, other = image[gone], other[gone]
    column = np.concatenate([place[image], place[other]])
    return column, np.concatenate([last.forth[image], last.back[image]])
