"""The table of a page."""

import math
from collections.abc import Mapping, Sequence
from html import escape


def table_markup(rows: Sequence[Mapping[str, str | float]]) -> str:
    r"""Returns rows as an HTML table, their keys as the head in the order in which
    they appear, numbers with two decimals.
    """
    if not rows:
        return ''
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = {
        key for key in columns if not any(isinstance(row.get(key), str) for row in rows)
    }
    kind = {key: ' class="number"' if key in numeric else '' for key in columns}
    head = ''.join(f'<th scope="col"{kind[key]}>{escape(key)}</th>' for key in columns)
    body = '\n'.join(
        '<tr>' + ''.join(_cell(row.get(key), kind[key]) for key in columns) + '</tr>'
        for row in rows
    )
    return (
        '<section aria-labelledby="results"><h2 id="results">Results</h2>\n'
        '<div class="scroll" role="region" aria-labelledby="results" tabindex="0">\n'
        f'<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'
        '</div></section>'
    )


def _cell(value: str | float | None, kind: str) -> str:
    if value is None:
        return f'<td{kind} data-value=""></td>'
    if isinstance(value, str):
        return f'<td{kind}>{escape(value)}</td>'
    if math.isnan(value):
        return f'<td{kind} data-value="">–</td>'
    text = f'{value:.2f}' if isinstance(value, float) else str(value)
    return f'<td{kind} data-value="{float(value)!r}">{text}</td>'
