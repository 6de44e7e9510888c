import base64
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from torch_geometric_reid.atomic import write_atomically
from torch_geometric_reid.visualization.pixels import data_uri
from torch_geometric_reid.visualization.report_probes import ProbeCard, probes_markup
from torch_geometric_reid.visualization.report_table import table_markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
Rows = Sequence[Mapping[str, str | float]]


def write_report(
    path: str | os.PathLike[str],
    title: str,
    rows: Rows,
    figures: Mapping[str, 'Figure'],
    probes: Sequence[ProbeCard],
    note: str = '',
    tables: Mapping[str, tuple[str, Rows]] | None = None,
) -> None:
    r"""Writes a page of results as one HTML file that loads nothing else.

    It shows a table that a click on a header sorts, figures, and the ranking lists
    of probes, one at a time: those of the half with the lower average precision, or
    those of the other half. Without JavaScript, all are shown below each other.

    The file is replaced at once, when all of it is written.

    Args:
        path (str or pathlib.Path): The file.
        title (str): The title.
        rows (list[dict]): The rows of the table, their keys as its head.
        figures (dict): Figures by their captions.
        probes (list[ProbeCard]): Probes, for which :meth:`select_probes` finds the
            worst and the best.
        note (str, optional): Text below the title. (default: :obj:`""`)
        tables (dict, optional): Further tables by their headings, each a tuple of
            the text below the heading and the rows. (default: :obj:`None`)

    Raises:
        ImportError: If matplotlib is not installed, which brings Pillow.
        ValueError: If a picture has another form than those of
            :meth:`plot_ranking_lists`.
    """
    style, script = _part('report.css'), _part('report.js')
    page = Template(_part('report.html')).substitute(
        title=escape(title),
        note=f'<p class="note">{escape(note)}</p>' if note else '',
        tables='\n'.join(_tables_markup(rows, tables or {})),
        figures=_figures_markup(figures),
        probes=probes_markup(probes),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
    )
    write_atomically(Path(path), lambda file: file.write(page.encode()))


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f'sha256-{base64.b64encode(digest).decode()}'


def _tables_markup(rows: Rows, others: Mapping[str, tuple[str, Rows]]) -> Iterator[str]:
    yield table_markup(rows, 'Results', 'results')
    for i, (title, (hint, more)) in enumerate(others.items(), start=1):
        yield table_markup(more, title, f'results-{i}', hint)


def _figures_markup(figures: Mapping[str, 'Figure']) -> str:
    if not figures:
        return ''
    body = '\n'.join(_figure(name, figure) for name, figure in figures.items())
    return (
        '<section aria-labelledby="figures"><h2 id="figures">Figures</h2>\n'
        f'<div class="figures">\n{body}\n</div></section>'
    )


def _figure(name: str, figure: 'Figure') -> str:
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=DPI)
    width, height = (round(96 * side) for side in figure.get_size_inches())
    alt = '; '.join([name, *_texts(figure)])
    return (
        f'<figure><img src="{data_uri("image/png", file.getvalue())}" '
        f'width="{width}" height="{height}" alt="{escape(alt)}">'
        f'<figcaption>{escape(name)}</figcaption></figure>'
    )


def _texts(figure: 'Figure') -> Iterator[str]:
    for axes in figure.axes:
        legend = axes.get_legend()
        labels = [text.get_text() for text in legend.get_texts()] if legend else []
        parts = [axes.get_title(), axes.get_ylabel(), axes.get_xlabel(), *labels]
        if any(parts):
            yield ', '.join(' '.join(part.split()) for part in parts if part)
