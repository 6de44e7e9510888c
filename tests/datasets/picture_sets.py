"""A Market-1501 of a few pictures, and features for them."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

MARKET = {
    'bounding_box_train': ['0002_c1s1_000451_03.jpg', '0007_c6s3_077392_01.jpg'],
    'query': ['0003_c2s1_000151_00.jpg', '0001_c1s1_001051_00.jpg'],
    'bounding_box_test': [
        '0003_c1s6_015971_02.jpg',
        '-1_c3s1_000401_03.jpg',
        '0000_c5s2_000151_01.jpg',
        '0001_c4s1_002051_00.jpg',
        '0003_c2s1_000176_01.jpg',
    ],
}
GALLERY = sorted(MARKET['bounding_box_test'])[1:]  # without the junk


def save_pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new('RGB', (4, 6), (10 * i, 0, 250)).save(folder / name)


def save_features(path, names, **arrays):
    x = np.random.default_rng(0).normal(size=(len(names), 3))
    np.savez(path, feature=x, name=names, **arrays)
    return F.normalize(torch.from_numpy(x).float())
