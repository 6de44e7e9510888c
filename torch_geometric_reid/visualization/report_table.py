"""The tables of a page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

MOST_DECIMALS = 5


def table_markup(
    rows: Sequence[Mapping[str, str | float]], title: str, name: str, hint: str = ''
) -> str:
    r"""Returns rows as an HTML table, their keys as the head in the order in which
    they appear. Numbers have two decimals, or in all of a column as many as its
    smallest one needs for two digits, at most five.

    Args:
        rows (list[dict]): The rows.
        title (str): The heading.
        name (str): The identifier of the heading in the page.
        hint (str, optional): Text below the heading. (default: :obj:`""`)
    """
    if not rows:
        return ''
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = {
        key for key in columns if not any(isinstance(row.get(key), str) for row in rows)
    }
    kind = {key: ' class="number"' if key in numeric else '' for key in columns}
    places = {key: _decimals(row.get(key) for row in rows) for key in columns}
    head = ''.join(f'<th scope="col"{kind[key]}>{escape(key)}</th>' for key in columns)
    body = '\n'.join(
        '<tr>'
        + ''.join(_cell(row.get(key), kind[key], places[key]) for key in columns)
        + '</tr>'
        for row in rows
    )
    hint = f'<p class="hint">{escape(hint)}</p>\n' if hint else ''
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>\n'
        f'{hint}<div class="scroll" role="region" aria-labelledby="{name}" '
        f'tabindex="0">\n<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n'
        '</tbody></table>\n</div></section>'
    )


def _decimals(values: Iterable[str | float | None]) -> int:
    sizes = [abs(value) for value in values if isinstance(value, float) and value]
    smallest = min((size for size in sizes if math.isfinite(size)), default=1.0)
    return min(max(2, 1 - math.floor(math.log10(smallest))), MOST_DECIMALS)


def _cell(value: str | float | None, kind: str, decimals: int) -> str:
    if value is None:
        return f'<td{kind} data-value=""></td>'
    if isinstance(value, str):
        return f'<td{kind}>{escape(value)}</td>'
    if math.isnan(value):
        return f'<td{kind} data-value="">–</td>'
    text = f'{value:.{decimals}f}' if isinstance(value, float) else str(value)
    return f'<td{kind} data-value="{float(value)!r}">{text}</td>'
