from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class Patch(NamedTuple):
    r"""Gallery features that differ for one probe, because it is among the
    image's nearest neighbours. Pairs are sorted by probe, then image.

    Attributes:
        probe: The probes :math:`(P)`.
        image: The gallery images :math:`(P)`.
        x: The images' features for these probes :math:`(P, d)`.
    """

    probe: Tensor
    image: Tensor
    x: Tensor


class PatchNodes(BaseTransform):
    r"""Lets the nodes of a sampled batch read the features that they have for their
    own probe, which lie behind those of all images.

    Reads :obj:`batch` and :obj:`n_id` of a batch whose nodes are gallery images
    :math:`0, \ldots, G - 1` and probes :math:`G, G + 1, \ldots, N - 1`; in
    :obj:`n_id`, a node that pair :math:`i` is about becomes :math:`N + i`.

    Args:
        patch (Patch): The features that differ.
        num_gallery (int): The number :math:`G` of gallery images.
        num_nodes (int): The number :math:`N` of gallery images and probes.
    """

    def __init__(self, patch: Patch, num_gallery: int, num_nodes: int):
        self.patch = patch
        self.num_gallery = num_gallery
        self.num_nodes = num_nodes
        self.key = patch.probe * num_gallery + patch.image

    def forward(self, data: Data) -> Data:
        if self.key.numel() == 0:
            return data
        image = data.n_id.to(self.key.device)
        probe = image[data.batch.to(self.key.device)] - self.num_gallery
        key = probe * self.num_gallery + image
        place = torch.searchsorted(self.key, key).clamp(max=self.key.numel() - 1)
        changed = (self.key[place] == key) & (image < self.num_gallery)
        data.n_id = torch.where(changed, self.num_nodes + place, image)
        return data
