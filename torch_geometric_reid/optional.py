from importlib import import_module
from typing import Any


def require(module: str, what: str, extra: str) -> Any:
    r"""Imports an optional dependency.

    Args:
        module (str): The name of the module.
        what (str): What needs it, for the error message.
        extra (str): The extra of this package that installs it.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs '{module}': pip install torch_geometric_reid[{extra}]"
        ) from error
