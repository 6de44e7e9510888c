"""What the readers of all file formats share."""

from collections.abc import Callable
from typing import Any

BARE = 'array'  # the key of an array that its file gives no name
NO_TEXT = 'cells of a cell array need to be text'

Arrays = dict[str, Callable[[], Any]]
