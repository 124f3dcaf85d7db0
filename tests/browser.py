"""Chromium without a window, driven over a pipe by its DevTools protocol; no package is needed for it."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')


class Browser:
    """A page in a browser of its own.

    Attributes:
        messages: what the page wrote to its console, and its errors, those of its content security policy included.
        requested: the addresses that the page asked for.
    """

    def __init__(self, folder: Path, width: int = 1200, height: int = 900) -> None:
        program = next(filter(None, map(shutil.which, _NAMES)), None)
        if program is None:
            pytest.skip('needs Chromium')
        read_end, self._out = os.pipe()
        self._in, write_end = os.pipe()

        def connect_pipes() -> None:  # Chromium reads from 3 and writes to 4
            copies = os.dup(read_end), os.dup(write_end)
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
        flags += ['--disable-background-networking', '--hide-scrollbars', f'--user-data-dir={folder}']
        self._process = subprocess.Popen(
            [program, *flags, '--remote-debugging-pipe', 'about:blank'],
            preexec_fn=connect_pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self._received, self._number, self._session = b'', 0, None
        self.messages: list[str] = []
        self.requested: list[str] = []
        target = next(each for each in self.call('Target.getTargets')['targetInfos'] if each['type'] == 'page')
        self._session = self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network', 'DOM'):
            self.call(f'{domain}.enable')
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in CSS pixels."""
        self.call(
            'Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def open(self, url: str) -> None:
        """Load a page."""
        self.call('Page.navigate', url=url)
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; a promise is awaited."""
        answer = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails'])
        return answer['result'].get('value')

    def wait_for(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f'{expression} stays false; messages of the page: {self.messages}')
            time.sleep(0.05)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in an input of the page, as a person does."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', files=[str(path)], nodeId=node)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page (PNG)."""
        data = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True)['data']
        path.write_bytes(base64.b64decode(data))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the result of a command of the protocol; events that come meanwhile are noted."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        message |= {'sessionId': self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next_message()
            if answer.get('id') == self._number:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]}')
                return answer['result']
            self._note(answer)

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get('params', {})
        if event.get('method') == 'Log.entryAdded':
            self.messages.append(params['entry']['text'])
        elif event.get('method') == 'Runtime.exceptionThrown':
            self.messages.append(json.dumps(params['exceptionDetails']))
        elif event.get('method') == 'Runtime.consoleAPICalled':
            self.messages.append(json.dumps(params['args']))
        elif event.get('method') == 'Network.requestWillBeSent':
            self.requested.append(params['request']['url'])

    def _next_message(self) -> dict[str, Any]:
        while b'\0' not in self._received:
            if not select.select([self._in], [], [], 30)[0]:
                raise TimeoutError('the browser does not answer')
            block = os.read(self._in, 1 << 16)
            if not block:
                raise RuntimeError('the browser has ended')
            self._received += block
        message, _, self._received = self._received.partition(b'\0')
        return json.loads(message)
