import numpy as np


class EdgeLists:
    r"""The graph in which a node receives from the nodes that it lists, kept so that
    a sub-graph is cut out without a sort: sorted by column, then row.

    Args:
        neighbor (numpy.ndarray): The nodes that each node lists :math:`(N, e)`.
        symmetric (bool): Whether a node also receives from those that list it.
        self_loops (bool): Whether a node also receives from itself.
    """

    def __init__(self, neighbor: np.ndarray, symmetric: bool, self_loops: bool):
        num_nodes, e = neighbor.shape
        node = np.arange(num_nodes)
        row, col = neighbor.reshape(-1), node.repeat(e)
        keys = [col * num_nodes + row]
        if symmetric:
            keys.append(row * num_nodes + col)
        if self_loops:
            keys.append(node * (num_nodes + 1))
        key = np.unique(np.concatenate(keys))
        self.row = key % num_nodes
        self.start = np.searchsorted(key, np.arange(num_nodes + 1) * num_nodes)

    def find(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        r"""Returns the positions of edges that are there."""
        num_nodes = self.start.size - 1
        node = np.arange(num_nodes).repeat(np.diff(self.start))
        return (node * num_nodes + self.row).searchsorted(col * num_nodes + row)

    def induced(
        self,
        node: np.ndarray,
        place: np.ndarray,
        lost: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Returns the edges between some nodes: the places of their sources, column
        by column, and the number of edges into each of the nodes.

        Args:
            node (numpy.ndarray): The nodes :math:`(n)`.
            place (numpy.ndarray): The place in :obj:`node` of each node of the
                graph :math:`(N)`, -1 for those that are not there.
            lost (tuple, optional): Edges that are left out, by the places of
                their columns and their positions. (default: :obj:`None`)
        """
        start = self.start[node]
        size = self.start[node + 1] - start
        end = size.cumsum()
        shift = start - end + size
        entry = shift.repeat(size)
        entry += np.arange(entry.size)
        source = place.take(self.row.take(entry))
        present = source >= 0
        if lost is not None:
            present[lost[1] - shift[lost[0]]] = False
        total = np.zeros(entry.size + 1, dtype=np.int64)
        present.cumsum(out=total[1:])
        count = total.take(end) - total.take(end - size)
        return source.take(present.nonzero()[0]), count
