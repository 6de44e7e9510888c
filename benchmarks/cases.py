"""Features of the size of a data set, for what is measured but not judged."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NUM_IDS, NUM_CAMERAS, DISTRACTORS, LATENT = 750, 6, 0.1, 48


def make_case(
    num_probes: int, num_gallery: int, dim: int, noise: float
) -> dict[str, np.ndarray]:
    """Returns features with 750 identities, 6 cameras (each of which shifts its
    features) and a tenth of distractors in the gallery.
    """
    generator = torch.Generator().manual_seed(0)

    def randn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    num = num_probes + num_gallery
    identity = torch.randint(1, NUM_IDS + 1, (num,), generator=generator)
    camera = torch.randint(NUM_CAMERAS, (num,), generator=generator)
    spread = noise * randn(num, 1).div(3).exp()
    x = randn(NUM_IDS + 1, LATENT)[identity] + spread * randn(num, LATENT)
    x += 0.3 * randn(NUM_CAMERAS, LATENT)[camera]
    distractor = torch.rand(num, generator=generator) < DISTRACTORS
    distractor[:num_probes] = False
    identity[distractor] = 0
    x[distractor] = 1.5 * randn(int(distractor.sum()), LATENT)
    x = F.normalize(x @ randn(LATENT, dim) + 0.3 * randn(num, dim))
    arrays = {'x': x, 'identity': identity, 'camera': camera}
    return {name: array.numpy() for name, array in arrays.items()}
