import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from torch_geometric_reid.visualization import (
    ProbeCard,
    RankedList,
    plot_cmc,
    write_report,
)
from torch_geometric_reid.visualization.report_table import table_markup

VOID = {'meta', 'link', 'img', 'input', 'br'}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('style', 'script'):
            self.text.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(write_example, tmp_path):
    write_example(tmp_path / 'page.html')
    return Page((tmp_path / 'page.html').read_text(encoding='utf-8'))


def test_is_well_formed(page):
    assert page.open == []
    assert page.of('html') == [{'lang': 'en'}]


def test_text_is_escaped(page, write_example, tmp_path):
    assert len(page.of('script')) == 1
    assert page.of('i') != []
    assert not any(attrs for attrs in page.of('i'))
    assert '<i>graph</i>' in page.text
    hostile = [text for text in page.text if 'hostile' in text]
    assert len(hostile) == 6  # head, title, note, row, caption, probe
    assert all('"><script>' in text and '&amp;' in text for text in hostile)


def test_nothing_is_loaded(page):
    attrs = [value for _, attrs in page.tags for value in attrs.items()]
    links = [value for name, value in attrs if name in ('src', 'href')]
    assert links
    assert all(link.startswith('data:') for link in links)
    assert not re.search(r'url\(|@import', ''.join(page.text))


def test_images_have_alternative_texts(page):
    texts = [attrs['alt'] for attrs in page.of('img')]
    assert all(texts)
    assert 'probe good' in texts
    assert texts[0].startswith('CMC')
    assert texts[0].endswith('; probes with a match (%), rank, cosine')
    assert sum(text.endswith(', no match') for text in texts) == 6


def test_probes_are_split_into_worst_and_best(page):
    groups = [attrs['data-group'] for attrs in page.of('article')]
    assert groups == ['worst', 'worst', 'best']
    heads = [text for text in page.text if 'average precision' in text]
    assert [re.search('[0-9.]+ %', head).group() for head in heads] == [
        '12.5 %',
        '20.0 %',
        '90.0 %',
    ]


def test_empty_parts_are_left_out(tmp_path):
    path = tmp_path / 'folder' / 'page.html'
    write_report(str(path), 'Title', [], {}, [])
    page = Page(path.read_text())
    assert page.of('section') == []
    assert [text for text in page.text if text.strip()] == ['Title', 'Title']


def test_probes_without_pictures_or_match(tmp_path):
    ranked = RankedList(torch.tensor([17]), torch.rand(1), torch.tensor([False]), None)
    card = ProbeCard('p', float('nan'), {'a': ranked}, None, None)
    write_report(tmp_path / 'page.html', 'Title', [], {}, [card])
    page = Page((tmp_path / 'page.html').read_text())
    assert page.of('img') == []
    assert '17' in page.text
    assert 'p (average precision: no match)' in page.text
    assert [attrs['value'] for attrs in page.of('input')] == ['worst']


def test_decimals_are_those_of_the_smallest_number():
    rows = [{'a': 0.1016, 'b': 9.5, 'n': 3}, {'a': 0.00172, 'b': 0.0}, {'a': 3e-9}]
    text = table_markup(rows[:2], 'Title', 'name', 'see <b>')
    assert re.findall('>([0-9.]+)<', text) == ['0.1016', '9.50', '3', '0.0017', '0.00']
    assert 'see &lt;b&gt;' in text
    assert re.findall('>([0-9.]+)<', table_markup(rows, '', ''))[-1] == '0.00000'


def test_further_tables(tmp_path):
    path, rows = tmp_path / 'page.html', [{'a': 1.0}]
    tables = {'<b>': ('hint', rows), 'None': ('', [])}
    write_report(path, 'Title', rows, {}, [], tables=tables)
    page = Page(path.read_text())
    assert page.open == []
    assert len(page.of('table')) == 2
    heads = [attrs['id'] for attrs in page.of('h2')]
    assert heads == ['results', 'results-1']
    assert [a['aria-labelledby'] for a in page.of('section')] == heads
    assert 'hint' in page.text
    assert '<b>' in page.text


@pytest.mark.parametrize('calibrated', [True, False])
def test_page_of_a_run(write_run, tmp_path, calibrated):
    path = tmp_path / 'page.html'
    judged = write_run(path, calibrated)
    page = Page(path.read_text())
    assert page.open == []
    assert len(judged) == len(page.of('tr')) - 4 == (4 if calibrated else 2)
    assert [attrs['class'] for attrs in page.of('article')] == ['probe'] * 12
    kind = 'calibrated' if calibrated else 'raw'
    _cmc, roc, pairs, first = [attrs['alt'] for attrs in page.of('img')]
    assert roc.endswith('false positive rate, cosine, k-reciprocal')
    error = judged['cosine', kind].all_pairs.error
    assert f'all pairs, {kind} scores; ' in pairs
    assert f'cosine (ECE {error:.4f})' in pairs
    error = judged['k-reciprocal', kind].first_images.error
    assert f'k-reciprocal (ECE {error:.4f})' in first
    assert any('fitted to held-out' in text for text in page.text) == calibrated
    assert ('FPR of the threshold' in page.text) == calibrated


def test_a_failure_leaves_the_old_page(write_example, tmp_path, monkeypatch):
    path = tmp_path / 'page.html'
    path.write_text('old')

    def fail(*args):
        raise OSError('no space')

    monkeypatch.setattr(Path, 'replace', fail)
    with pytest.raises(OSError, match='no space'):
        write_example(path)
    assert [file.name for file in tmp_path.iterdir()] == ['page.html']
    assert path.read_text() == 'old'


def test_the_same_input_gives_the_same_page(write_example, tmp_path):
    write_example(tmp_path / 'one')
    write_example(tmp_path / 'two')
    assert (tmp_path / 'one').read_bytes() == (tmp_path / 'two').read_bytes()


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(ImportError, match='pip install torch_geometric_reid.plot.'):
        plot_cmc({'a': torch.ones(2)})
