from torch_geometric_reid.sampler.hard_gallery_sampler import HardGallerySampler
from torch_geometric_reid.sampler.random_probability_gallery_sampler import (
    RandomProbabilityGallerySampler,
)

__all__ = ['HardGallerySampler', 'RandomProbabilityGallerySampler']
