r"""What a command prints, and the file of the same."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def format_table(rows: Iterable[Mapping[str, str | float]]) -> str:
    r"""Returns rows as aligned text, their keys as the head, numbers with two
    decimals.
    """
    texts = [{key: _text(value) for key, value in row.items()} for row in rows]
    head = list(texts[0])
    width = {key: max(len(key), *(len(row[key]) for row in texts)) for key in head}
    lines = [
        {key: key for key in head},
        {key: '-' * width[key] for key in head},
        *texts,
    ]
    return '\n'.join(
        '  '.join(_align(line[key], width[key]) for key in head).rstrip()
        for line in lines
    )


def write_json(path: Path, content: Any) -> None:
    r"""Writes what was printed as JSON, to a folder that is made if it does not
    exist.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f'{value:.2f}'


def _align(text: str, width: int) -> str:
    is_number = text.replace('.', '').isdigit()
    return text.rjust(width) if is_number else text.ljust(width)
