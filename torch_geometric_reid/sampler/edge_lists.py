import numpy as np

WIDTH = 8  # entries of a line
BYTES = np.uint64(0x0101010101010101)


class EdgeLists:
    r"""The graph in which a node receives from the nodes that it lists, kept so that
    a sub-graph is cut out without a sort: a list, sorted by node, fills lines of
    :obj:`WIDTH` entries, which lie together in memory, the last up with the number of
    nodes :math:`N`.

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
        row, col = key % num_nodes, key // num_nodes
        degree = np.bincount(col, minlength=num_nodes)
        self.start = np.append(0, (-(-degree // WIDTH)).cumsum())
        self.line = np.full((self.start[-1], WIDTH), num_nodes, dtype=np.int32)
        place = np.arange(key.size) - (degree.cumsum() - degree)[col]
        self.line.reshape(-1)[self.start[col] * WIDTH + place] = row

    def find(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        r"""Returns the entries, counted line by line, of edges that are there."""
        num_nodes = self.start.size - 1
        entry = (self.line.reshape(-1) < num_nodes).nonzero()[0]
        column = np.arange(num_nodes).repeat(np.diff(self.start))
        key = column[entry // WIDTH] * num_nodes + self.line.reshape(-1)[entry]
        return entry[key.searchsorted(col * num_nodes + row)]

    def induced(
        self,
        node: np.ndarray,
        place: np.ndarray,
        lost: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        r"""Returns the edges between some nodes, column by column: the places of
        their sources, and the number of edges into each node :math:`(n)`.

        Args:
            node (numpy.ndarray): The nodes :math:`(n)`.
            place (numpy.ndarray): The place of each node of the graph, -1 for those
                that are not there and behind them, int32 :math:`(N + 1)`.
            lost (tuple, optional): Edges that are left out, by the numbers in
                :obj:`node` of their columns and by their entries.
                (default: :obj:`None`)
        """
        start = self.start.take(node)
        size = self.start.take(node + 1) - start
        end = size.cumsum()
        shift = start - end + size
        line = shift.repeat(size)
        line += np.arange(line.size)
        source = place.take(self.line.take(line, axis=0)).reshape(-1)
        if lost is not None:
            source[lost[1] - WIDTH * shift[lost[0]]] = -1
        there = source >= 0
        # The product's highest byte is the sum of the bytes, one for each entry.
        of_line = (there.view(np.uint64) * BYTES >> 56).view(np.int64)
        before = np.concatenate(([0], of_line.cumsum()))
        count = before.take(end) - before.take(end - size)
        return source.compress(there), count
