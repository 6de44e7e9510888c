"""What a reader of a page sees, in headless Chromium."""

import shutil

import pytest

playwright = pytest.importorskip('playwright.sync_api', reason='needs playwright')
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason='needs Chromium')


@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium
        browser = chromium.launch(executable_path=BROWSER, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def load(browser, write_example, tmp_path):
    address = (tmp_path / 'page.html').as_uri()
    complaints, requests, contexts = [], [], []

    def load(write=write_example, **options):
        write(tmp_path / 'page.html')
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on('console', lambda message: complaints.append(message.text))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('request', lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield load
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith('data:')} == {address}


def column(page, number):
    return page.locator(f'tbody td:nth-child({number})').all_inner_texts()


def shown(page):
    heads = page.locator('.probe h3').all()
    return [head.inner_text().split(' (')[0] for head in heads if head.is_visible()]


def test_page_is_complete(load):
    page = load()
    assert page.title().startswith('Title "><script>')
    assert page.locator('h1').inner_text() == page.title()
    assert page.locator('tbody tr').count() == 3
    widths = page.eval_on_selector_all('img', 'all => all.map(i => i.naturalWidth)')
    assert len(widths) == 1 + 2 + 3 * 4
    assert min(widths) > 0
    style = 'getComputedStyle(document.querySelector(".match .picture")).borderTopColor'
    assert page.evaluate(style) == 'rgb(26, 127, 55)'


def test_buttons_and_keys_change_the_probe(load):
    page = load()
    first, position = shown(page), page.locator('output')
    assert first[0].startswith('"><script>')
    assert position.inner_text() == '1 of 2'
    page.get_by_role('button', name='Next').click()
    assert shown(page) == ['bad']
    assert position.inner_text() == '2 of 2'
    page.get_by_role('button', name='Previous').click()
    assert shown(page) == first
    page.keyboard.press('ArrowLeft')
    assert shown(page) == ['bad']
    page.keyboard.press('ArrowRight')
    assert shown(page) == first
    page.get_by_label('best').check()
    assert shown(page) == ['good']
    assert position.inner_text() == '1 of 1'


def test_a_head_sorts_the_table(load):
    page = load()
    head = page.get_by_role('columnheader', name='mAP')
    head.get_by_role('button').click()
    assert head.get_attribute('aria-sort') == 'descending'
    assert column(page, 2) == ['10.25', '9.50', '–']
    page.keyboard.press('Enter')  # the button has the focus
    assert head.get_attribute('aria-sort') == 'ascending'
    assert column(page, 2) == ['9.50', '10.25', '–']
    page.get_by_role('button', name='method').click()
    assert column(page, 1)[1:] == ['a', 'b']
    assert page.locator('[aria-sort]').count() == 1


def test_page_of_a_run(load, write_run, tmp_path):
    page = load(write_run, viewport={'width': 1280, 'height': 900})
    judged = write_run(tmp_path / 'other.html')
    heads = page.locator('h2').all_inner_texts()
    assert heads == [
        'Results', 'Probabilities and thresholds', 'Figures', 'Ranking lists',
    ]  # fmt: skip
    table = page.locator('table').nth(1)
    cells = [row.locator('td') for row in table.locator('tbody tr').all()]
    for row, (names, out) in zip(cells, judged.items(), strict=True):
        texts = row.all_inner_texts()
        assert tuple(texts[:2]) == names
        values = out.row(*names)
        assert float(texts[2]) == pytest.approx(values['ECE, all pairs'], abs=6e-3)
        tpr = values['TPR at FPR 1e-3 (%)']
        assert float(texts[4]) == pytest.approx(tpr, abs=6e-3)
        assert (texts[5] == '') == (names[1] == 'raw')
    head = table.get_by_role('columnheader', name='ECE, all pairs')
    head.get_by_role('button').click()
    assert head.get_attribute('aria-sort') == 'descending'
    figures = page.locator('.figures img')
    assert figures.count() == 4
    sizes = figures.evaluate_all('all => all.map(i => [i.naturalWidth, i.width])')
    assert all(natural > shown > 400 for natural, shown in sizes)
    captions = page.locator('figcaption').all_inner_texts()
    assert [caption.split()[0] for caption in captions] == [
        'Cumulative', 'Receiver', 'Reliability', 'Reliability',
    ]  # fmt: skip
    assert len(shown(page)) == 1


def test_without_scripts_everything_is_shown(load):
    page = load(java_script_enabled=False)
    assert len(shown(page)) == 3
    assert page.locator('tbody tr').count() == 3
    assert page.locator('.figures img').is_visible()
    assert not page.locator('.browse').is_visible()


@pytest.mark.parametrize('width', [320, 1280])
def test_page_is_not_wider_than_the_screen(load, width):
    page = load(viewport={'width': width, 'height': 700})
    assert page.evaluate('document.documentElement.scrollWidth') <= width
