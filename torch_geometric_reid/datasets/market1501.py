import re

from torch_geometric_reid.datasets.image_dataset import ImageDataset


class Market1501(ImageDataset):
    r"""The persons of the `"Scalable Person Re-Identification: A Benchmark"
    <https://doi.org/10.1109/ICCV.2015.133>`_ paper, with features of any backbone.

    :obj:`root` is the folder :obj:`Market-1501-v15.09.15` as published, with the
    folders :obj:`bounding_box_train`, :obj:`query` and :obj:`bounding_box_test`. A
    picture :obj:`0002_c1s1_000451_03.jpg` is of identity :obj:`2` by camera
    :obj:`1`. Identity :obj:`-1` is junk, which the protocol ignores and which is left
    out; identity :obj:`0` are distractors, which stay.

    Nothing is downloaded. Arguments, attributes and errors are those of
    :class:`ImageDataset`.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - Split
          - #images
          - #identities
          - #cameras
        * - train
          - 12,936
          - 751
          - 6
        * - query
          - 3,368
          - 750
          - 6
        * - gallery
          - 15,913 (19,732 with junk)
          - 750 and distractors
          - 6

    Attributes:
        sizes (dict[str, int]): The number of images of each split as published,
            without junk.
    """

    folders = {
        'train': 'bounding_box_train',
        'query': 'query',
        'gallery': 'bounding_box_test',
    }
    pattern = re.compile(r'(?P<id>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+\.\w+')
    example = '0002_c1s1_000451_03.jpg'
    num_cameras = 6
    sizes = {'train': 12_936, 'query': 3_368, 'gallery': 15_913}
