"""The page, in a browser: a picture goes in, and what was found is drawn and listed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import Browser
from serving_helpers import LIMITS, running
from small_models import write_shallow_checkpoint

from detkit.api import Detector
from detkit.inference import Result
from detkit.serving.model import ServedModel
from detkit.structures.masks import InstanceMasks

DRAWN = """(() => {
  const canvas = document.getElementById('canvas');
  return Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data);
})()"""
ROWS = "document.querySelectorAll('#rows tr').length"


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp('browser'))
    yield browser
    browser.close()


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """A picture of one colour, in which all that differs was drawn."""
    path = tmp_path / 'grey.png'
    cv2.imwrite(str(path), np.full((96, 128, 3), 128, np.uint8))
    return path


def open_picture(browser: Browser, path: Path) -> None:
    browser.evaluate("document.getElementById('found').hidden = true")
    browser.choose_file('#file', path)
    browser.wait_for(
        "!document.getElementById('found').hidden || document.getElementById('status').className === 'bad'"
    )


def changed_pixels(browser: Browser) -> int:
    pixels = np.array(browser.evaluate(DRAWN), np.uint8).reshape(96, 128, 4)
    return int((np.abs(pixels[..., :3].astype(int) - 128).max(2) > 8).sum())


@pytest.mark.parametrize('task', ['det', 'seg', 'pose', 'obb', 'cls'])
def test_a_picture_is_drawn_with_what_was_found(task, browser, grey, tmp_path):
    model = ServedModel(Detector(write_shallow_checkpoint(tmp_path / 'small.pth', task), device='cpu'), LIMITS)
    with running(model) as client:
        browser.messages.clear()
        browser.requested.clear()
        browser.open(f'http://127.0.0.1:{client.port}/')
        browser.wait_for("document.getElementById('about').textContent !== ''")
        open_picture(browser, grey)
        assert browser.evaluate("document.getElementById('status').textContent").startswith('grey.png: 128 × 96 pixels')
        found = client.post(grey.read_bytes(), 'score_thr=0.05').json['results'][0]['objects']
        assert len(found) > 2
        assert browser.evaluate("document.querySelector('#rows td').textContent") == found[0]['name']
        counts, drawn = [], []
        for threshold in (0.05, (found[1]['score'] + found[0]['score']) / 2 if task == 'cls' else 0.95):
            browser.evaluate(
                f"document.getElementById('threshold').value = {threshold};"
                "document.getElementById('threshold').dispatchEvent(new Event('input'))"
            )
            counts.append(browser.evaluate(ROWS))
            drawn.append(changed_pixels(browser))
            chosen = float(browser.evaluate("document.getElementById('threshold').value"))
            assert counts[-1] == max(sum(each['score'] >= chosen for each in found), task == 'cls')
        assert counts[0] > counts[1]
        assert drawn[0] == 0 if task == 'cls' else drawn[0] > drawn[1]
        assert [url for url in browser.requested if f'127.0.0.1:{client.port}/' not in url and url[:5] != 'data:'] == []
        # No error, and nothing that the policy refused; that the pixels are read is the test's doing.
        assert [text for text in browser.messages if 'willReadFrequently' not in text] == []


def test_masks_are_drawn_where_they_are(browser, grey, small_detector, monkeypatch):
    """A ring, two parts and a single pixel: what the page decodes of their run lengths."""
    masks = np.zeros((3, 96, 128), bool)
    y, x = np.ogrid[:96, :128]
    distance = np.hypot(y - 40, x - 60)
    masks[0] = (distance < 35) & (distance > 12)
    masks[1, 2:30, 100:128], masks[1, 60:96, 0:20] = True, True
    masks[2, 95, 127] = True
    model = ServedModel(small_detector, LIMITS)
    found = Result(
        img_path='grey.png',
        img_shape=(96, 128),
        classes=small_detector.classes,
        labels=np.array([0, 1, 2]),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        bboxes=np.array([[25, 5, 96, 75], [0, 2, 128, 96], [127, 95, 128, 96]], np.float32),
        instance_masks=InstanceMasks.from_bool(masks),
    )
    monkeypatch.setattr(model, 'result', lambda *_: found)
    with running(model) as client:
        browser.open(f'http://127.0.0.1:{client.port}/')
        open_picture(browser, grey)
        for index, mask in enumerate(masks):
            drawn = np.zeros_like(mask)
            for left, row, length in np.reshape(browser.evaluate(f'state.masks[{index}]'), (-1, 3)):
                drawn[row, left : left + length] = True
            assert np.array_equal(drawn, mask)
        assert changed_pixels(browser) > masks[0].sum()


def test_a_file_that_is_no_picture_gets_the_server_s_sentence(browser, tmp_path, small_detector):
    path = tmp_path / 'notes.png'
    path.write_text('<script>document.title = "no"</script>')
    with running(ServedModel(small_detector, LIMITS)) as client:
        browser.open(f'http://127.0.0.1:{client.port}/')
        open_picture(browser, path)
        assert 'notes.png is no image' in browser.evaluate("document.getElementById('status').textContent")
        assert browser.evaluate("document.getElementById('found').hidden")


def test_names_of_classes_are_text(browser, grey, tmp_path):
    names = ('<img src=x onerror="document.title=1">', '<b>bold</b>', '日本')
    model = ServedModel(Detector(write_shallow_checkpoint(tmp_path / 'x.pth', 'det', names), device='cpu'), LIMITS)
    with running(model) as client:
        browser.open(f'http://127.0.0.1:{client.port}/')
        open_picture(browser, grey)
        shown = browser.evaluate(
            "[...document.querySelectorAll('#rows td:first-child')].map((cell) => cell.textContent)"
        )
        assert shown and set(shown) <= set(names)
        assert browser.evaluate("document.querySelectorAll('#rows img, #rows b').length") == 0


def test_the_page_asks_for_the_token_and_fits_a_phone(browser, grey, small_detector):
    with running(ServedModel(small_detector, LIMITS), token='a-token-of-24-characters') as client:
        browser.resize(390, 800)
        browser.open(f'http://127.0.0.1:{client.port}/')
        browser.wait_for("!document.getElementById('token-form').hidden")
        browser.evaluate(
            "document.getElementById('token').value = 'a-token-of-24-characters';"
            "document.querySelector('#token-form button').click()"
        )
        browser.wait_for("document.getElementById('token-form').hidden")
        open_picture(browser, grey)
        assert browser.evaluate(ROWS) > 0
        assert browser.evaluate('document.documentElement.scrollWidth') <= 390
        browser.resize(1200, 900)
