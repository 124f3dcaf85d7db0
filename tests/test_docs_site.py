"""The site in a browser: what people look for is found, by its search and from its first page."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import util

import pytest
from browser import Browser
from documented import REPO

pytestmark = pytest.mark.slow

ENTER = """(() => {
  const input = document.querySelector('.md-search__input');
  input.focus();
  input.value = %s;
  input.dispatchEvent(new Event('input', {bubbles: true}));
  input.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
})()"""
PAGES_FOUND = """[...new Set([...document.querySelectorAll('.md-search-result__item > .md-search-result__link')].map(
  link => new URL(link.href).pathname.replaceAll(/^[/]|[/]$/g, '')))]"""
LINKS = "[...document.querySelectorAll('article a')].map(link => link.href)"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    """A browser at the first page of the site, which is built as by ``mkdocs build --strict``."""
    build = pytest.importorskip('mkdocs.commands.build').build
    pytest.importorskip('mkdocstrings')
    config = pytest.importorskip('mkdocs.config').load_config
    site = tmp_path_factory.mktemp('site')
    build(config(str(REPO / 'mkdocs.yml'), site_dir=str(site), strict=True))
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser(tmp_path_factory.mktemp('browser'))
    browser.open(f'http://127.0.0.1:{server.server_address[1]}/')
    yield browser
    browser.close()
    server.shutdown()
    server.server_close()


def look_up(browser: Browser, words: str, page: str) -> list[str]:
    """Enter words into the search; return the pages found, once the page is among the first three or after a second."""
    browser.evaluate(ENTER % '""')
    browser.wait_for(f'{PAGES_FOUND}.length === 0')
    browser.evaluate(ENTER % json.dumps(words))
    try:
        browser.wait_for(f'{PAGES_FOUND}.slice(0, 3).includes({json.dumps(page)})', seconds=1)
    except TimeoutError:
        pass
    return browser.evaluate(PAGES_FOUND)


def test_the_search_finds_pages_by_the_words_of_the_field(browser):
    spec = util.spec_from_file_location('search_words', REPO / 'docs/search_words.py')
    hook = util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    missed = {}
    for source, words in hook.WORDS.items():
        page = source.rpartition('.')[0]
        for word in words.split(', '):
            found = look_up(browser, word, page)
            if page not in found[:3]:
                missed[word] = page, found[:3]
    assert missed == {}


@pytest.mark.parametrize(
    ('words', 'page'),
    [
        ('how to install', 'get_started'),
        ('fine-tune', 'get_started'),
        ('keypoints', 'tutorials/pose'),
        ('confusion matrix', 'analyze/errors'),
        ('train on several gpus', 'distributed'),
        ('onnx runtime', 'export'),
        ('compare two models', 'analyze/compare'),
    ],
)
def test_the_search_finds_phrases(words, page, browser):
    assert page in look_up(browser, words, page)[:5]


def test_the_first_page_leads_everywhere(browser):
    """A newcomer finds these with one click more."""
    links = {link.removeprefix(browser.evaluate('location.href')) for link in browser.evaluate(LINKS)}
    wanted = {'get_started/', 'yolo_data/', 'dataset_formats/', 'get_started/#choose-a-model', 'python/'}
    assert wanted | {'analyze/compare/', 'compared/', 'models/', 'video/', 'export/', 'troubleshooting/'} <= links


def test_the_reference_shows_defaults_of_options(browser):
    address = browser.evaluate('location.href')
    browser.open(f'{address}reference/export/')
    signature = browser.evaluate(
        "document.getElementById('detkit.export.ExportSettings').parentNode.querySelector('pre').textContent"
    )
    browser.open(address)
    assert "format: str = 'onnx'" in signature and 'option(' not in signature


def test_options_and_names_in_tables_are_whole_on_a_phone(browser):
    address = browser.evaluate('location.href')
    browser.resize(390, 800)
    browser.open(f'{address}export/')
    whole = browser.evaluate("[...document.querySelectorAll('.option')].map(each => each.getClientRects().length)")
    names = browser.evaluate(
        "[...document.querySelectorAll('td code')].filter(each => !/[ ,-]/.test(each.textContent) && "
        'each.getClientRects().length > 1).map(each => each.textContent)'
    )
    width = browser.evaluate('document.documentElement.scrollWidth')
    browser.resize(1200, 900)
    browser.open(address)
    assert len(whole) > 20 and set(whole) == {1}
    assert (names, width) == ([], 390)


def test_the_names_of_rows_stay_in_view(browser):
    address = browser.evaluate('location.href')
    browser.resize(390, 800)
    browser.open(f'{address}compared/')
    left = browser.evaluate(
        "(() => { const wrap = document.querySelectorAll('.features .md-typeset__scrollwrap')[1]; "
        'wrap.scrollLeft = 200; '
        "return [wrap.scrollLeft, wrap.querySelectorAll('tbody td')[0].getBoundingClientRect().left]; })()"
    )
    browser.resize(1200, 900)
    browser.open(address)
    assert left[0] == 200 and 0 <= left[1] < 30
