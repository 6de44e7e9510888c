"""Under which names arrays of features, identities and cameras are saved."""

from collections.abc import Iterable

SPLITS = ('train', 'query', 'gallery')

ALIASES: dict[str, tuple[str, ...]] = {  # in the singular, without underscores
    'feature': ('feature', 'feat', 'f', 'embedding', 'embed', 'x'),
    'id': ('id', 'pid', 'identity', 'identities', 'label', 'y'),
    'camera': ('camera', 'cam', 'camid', 'cameraid'),
    'name': ('name', 'path', 'file', 'filename', 'imagepath', 'imgpath'),
    'split': ('split',),
}


def find_keys(kind: str, keys: dict[str, str]) -> list[str]:
    r"""Returns the keys whose names say that they hold what is looked for.

    Case, underscores and a plural do not matter, and of :obj:`"group/name"` only
    the last part does.

    Args:
        kind (str): :obj:`"feature"`, :obj:`"id"`, :obj:`"camera"`,
            :obj:`"name"` or :obj:`"split"`.
        keys (dict[str, str]): The keys by name, see :meth:`keys_of_split`.

    Example:
        >>> find_keys('id', {'feature': 'feature', 'Labels': 'query_Labels'})
        ['query_Labels']
    """
    return [key for name, key in keys.items() if _is_alias(kind, name)]


def _is_alias(kind: str, name: str) -> bool:
    name = name.rsplit('/', 1)[-1].lower().replace('_', '')
    return name in ALIASES[kind] or name.removesuffix('s') in ALIASES[kind]


def keys_of_split(split: str, keys: Iterable[str]) -> dict[str, str]:
    r"""Returns the keys that begin with the split's name, by what follows it.

    Args:
        split (str): :obj:`"train"`, :obj:`"query"` or :obj:`"gallery"`.
        keys (list[str]): The keys.

    Example:
        >>> keys_of_split('query', ['query_f', 'query/label', 'gallery_f'])
        {'f': 'query_f', 'label': 'query/label'}
    """
    prefixes = (f'{split}_', f'{split}/')
    return {
        key[len(split) + 1 :]: key for key in keys if key.lower().startswith(prefixes)
    }


def listed(keys: Iterable[str], limit: int = 20) -> str:
    r"""Writes keys for an error message, the first few of many."""
    keys = list(keys)
    more = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return (', '.join(repr(key) for key in keys[:limit]) or 'none') + more
