import re
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from xml.etree import ElementTree

import torch

from torch_geometric_reid.datasets.image_dataset import ImageDataset
from torch_geometric_reid.datasets.images import ImageList
from torch_geometric_reid.datasets.keys import listed

LABELS = {
    'train': 'train_label.xml',
    'query': 'test_label.xml',
    'gallery': 'test_label.xml',
}


class VeRi776(ImageDataset):
    r"""The vehicles of the `"A Deep Learning-Based Approach to Progressive Vehicle
    Re-identification for Urban Surveillance"
    <https://doi.org/10.1007/978-3-319-46475-6_53>`_ paper, with features of any
    backbone.

    :obj:`root` is the folder :obj:`VeRi` as published, with the folders
    :obj:`image_train`, :obj:`image_query` and :obj:`image_test`. A picture
    :obj:`0001_c001_00016450_0.jpg` is of identity :obj:`1` by camera :obj:`1`.

    Where the lists :obj:`name_train.txt`, :obj:`name_query.txt` and
    :obj:`name_test.txt` are there, a split is what its list names, and
    a picture that is not listed is left out with a warning. Where
    :obj:`train_label.xml` and :obj:`test_label.xml` are there, their identities and
    cameras need to be those of the names.

    Nothing is downloaded. Attributes and errors are those of :class:`ImageDataset`,
    and so are all arguments but one.

    Args:
        drop_probe_copies (bool, optional): If set to :obj:`True`, leaves out of the
            gallery the files that are also probes. A probe's own copy has its identity
            and camera, so that the evaluation ignores it, but a graph does not: there
            the copy is the nearest neighbour of its probe, takes the place of a true
            neighbour, and passes on nothing new. Report rankings with and without.
            (default: :obj:`False`)

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - Split
          - #images
          - #identities
          - #cameras
        * - train
          - 37,778
          - 576
          - 20
        * - query
          - 1,678
          - 200
          - 20
        * - gallery
          - 11,579
          - 200
          - 20

    Attributes:
        sizes (dict[str, int]): The number of images of each split as published.
    """

    folders = {'train': 'image_train', 'query': 'image_query', 'gallery': 'image_test'}
    lists = {
        'train': 'name_train.txt',
        'query': 'name_query.txt',
        'gallery': 'name_test.txt',
    }
    pattern = re.compile(r'(?P<id>\d+)_c(?P<camera>\d+)_\d+_\d+\.\w+')
    example = '0001_c001_00016450_0.jpg'
    num_cameras = 20
    sizes = {'train': 37_778, 'query': 1_678, 'gallery': 11_579}

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = 'train',
        features: str | PathLike[str] | None = None,
        *,
        keep_junk: bool = False,
        drop_probe_copies: bool = False,
        transform: Callable | None = None,
        pre_transform: Callable | None = None,
        force_reload: bool = False,
    ):
        super().__init__(
            root,
            split,
            features,
            keep_junk=keep_junk,
            drop_probe_copies=drop_probe_copies,
            transform=transform,
            pre_transform=pre_transform,
            force_reload=force_reload,
        )

    @classmethod
    def images(
        cls,
        root: str | PathLike[str],
        split: str,
        *,
        keep_junk: bool = False,
        drop_probe_copies: bool = False,
    ) -> ImageList:
        r"""Lists the pictures of a split, sorted by name; no features are needed.

        Args:
            root (str or os.PathLike): The folder that holds the folders of the
                splits.
            split (str): :obj:`"train"`, :obj:`"query"` or :obj:`"gallery"`.
            keep_junk (bool, optional): Without effect, as there is none.
                (default: :obj:`False`)
            drop_probe_copies (bool, optional): If set to :obj:`True`, leaves out of
                the gallery the files that are also probes. (default: :obj:`False`)

        Raises:
            FileNotFoundError: If the folder does not exist.
            ValueError: If there is no picture in it, if a name cannot be read, if a
                listed picture is missing, or if labels contradict names.
        """
        images = super().images(root, split, keep_junk=keep_junk)
        root = Path(root).expanduser()
        images = _listed_images(root / cls.lists[split], images)
        _check_labels(root / LABELS[split], images)
        if drop_probe_copies and split == 'gallery':
            probes = set(cls.images(root, 'query').names)
            mask = [name not in probes for name in images.names]
            images = images.select(torch.tensor(mask))
        return images


def _listed_images(path: Path, images: ImageList) -> ImageList:
    if not path.is_file():
        return images
    try:
        names = set(path.read_text('utf-8').split())
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' needs to be a list of names ({error})") from error
    folder = images.paths[0].parent
    missing = sorted(names - set(images.names))
    if missing:
        raise ValueError(
            f"'{folder}' needs all pictures that '{path}' lists (it lacks "
            f'{listed(missing, 5)})'
        )
    unlisted = sorted(set(images.names) - names)
    if unlisted:
        warnings.warn(
            f"{len(unlisted)} pictures of '{folder}' are left out, as '{path}' does "
            f'not list them: {listed(unlisted, 5)}',
            stacklevel=3,
        )
    return images.select(torch.tensor([name in names for name in images.names]))


def _check_labels(path: Path, images: ImageList) -> None:
    if not path.is_file():
        return
    try:
        text = path.read_bytes().decode('gb18030')  # of which Expat cannot read gb2312
        if '<!DOCTYPE' in text:
            raise ValueError('a document type can make a short text endless')
        items = ElementTree.fromstring(text).iter('Item')
        labels = {
            item.attrib['imageName']: (
                int(item.attrib['vehicleID']),
                int(item.attrib['cameraID'].lstrip('c')),
            )
            for item in items
        }
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(
            f"'{path}' needs items with 'imageName', 'vehicleID' and 'cameraID' "
            f'({type(error).__name__}: {error})'
        ) from error
    ids = zip(images.y.tolist(), images.camera.tolist(), strict=True)
    for name, parsed in zip(images.names, ids, strict=True):
        if labels.get(name, parsed) != parsed:
            raise ValueError(
                f"'{path}' needs to agree with the names of pictures (it has identity "
                f"and camera {labels[name]} for '{name}')"
            )
