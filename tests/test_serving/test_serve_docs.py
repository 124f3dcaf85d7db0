"""What docs/serve.md says: its commands and its Python run against a server, its tables are those of the settings."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import cv2
import pytest
from serving_helpers import LIMITS, running
from small_models import write_checkpoint

from detkit.api import Detector
from detkit.cli.main import find_command
from detkit.serving import ServeSettings
from detkit.serving.model import ServedModel
from detkit.serving.options import REQUEST_OPTIONS
from detkit.serving.schemas import Predictions

TEXT = (Path(__file__).parents[2] / 'docs' / 'serve.md').read_text(encoding='utf-8')
TOKEN = 'a-token-of-24-characters'


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', TEXT, re.DOTALL)


@pytest.fixture
def example(tmp_path, picture, monkeypatch):
    """A server with the classes of the examples, and the files that these name."""
    for name in ('photo.jpg', 'other.jpg'):
        (tmp_path / name).write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DETKIT_SERVE_TOKEN', TOKEN)
    path = write_checkpoint(tmp_path / 'small.pth', 'seg', ('person', 'dog', 'cat'))
    return ServedModel(Detector(path, device='cpu'), LIMITS)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which('curl') is None or shutil.which('base64') is None, reason='needs curl and base64')
def test_every_call_of_curl_gets_predictions(example):
    calls = [call for block in blocks('bash') for call in re.split(r'(?<!\|)\n(?! )', block) if 'curl ' in call]
    assert len(calls) == 6
    for call in calls:
        with running(example, token=TOKEN if '$DETKIT_SERVE_TOKEN' in call else None) as client:
            call = call.replace('127.0.0.1:8000', f'127.0.0.1:{client.port}').replace('curl ', 'curl -sS ')
            done = subprocess.run(call, shell=True, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            if 'format=jpg' in call:
                assert cv2.imread('drawn.jpg').shape == (48, 64, 3)
                continue
            results = Predictions.model_validate_json(done.stdout).results
            assert len(results) == call.count('=@') or 'binary' in call
            assert all(result.objects for result in results)


def test_the_python_client_prints_what_was_found(example, capsys):
    code = blocks('python')[0]
    with running(example) as client:
        exec(compile(code.replace(':8000', f':{client.port}'), 'serve.md', 'exec'), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(re.fullmatch(r'(person|dog|cat) [\d.]+ \[.*\]', line) for line in lines)


def test_the_application_answers_as_the_server_does(example, picture):
    code = blocks('python')[1].replace('work_dirs/seg_n_coco8/best.pth', 'small.pth')
    made: dict = {}
    exec(compile(code, 'my_server.py', 'exec'), made)

    async def ask() -> list[dict]:
        sent: list[dict] = []
        request = {'type': 'http.request', 'body': picture}

        async def receive() -> dict:
            if 'body' in request:
                return {'type': 'http.request', 'body': request.pop('body')}
            await asyncio.sleep(60)
            return {'type': 'http.disconnect'}

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {
            'type': 'http',
            'method': 'POST',
            'path': '/predict',
            'query_string': b'img_size=64',
            'http_version': '1.1',
        }
        headers = [(b'content-type', b'image/png')]
        service = made['app'].app
        async with service.router.lifespan_context(service):
            await made['app']({**scope, 'headers': headers, 'root_path': ''}, receive, send)
        return sent

    start, body = asyncio.run(ask())
    assert start['status'] == 200
    assert Predictions.model_validate_json(body['body']).results[0].objects


def test_the_example_of_an_answer_is_one():
    (text,) = blocks('json')
    Predictions.model_validate(json.loads(text))


def test_the_table_of_limits_is_that_of_the_settings():
    rows = dict(re.findall(r'^\| `--([\w-]+)` \| ([\d,]+) \|', TEXT, re.MULTILINE))
    settings = {each.name: each.default for each in fields(ServeSettings)}
    assert {name: int(text.replace(',', '')) for name, text in rows.items()} == {
        name: settings[name.replace('-', '_')] for name in rows
    }
    known = {option for action in find_command('serve').parser()._actions for option in action.option_strings}
    assert {f'--{name}' for name in rows} <= known and len(rows) == 10
    assert set(re.findall(r'`(--[a-z-]+)', TEXT)) <= known


def test_every_option_and_status_is_named():
    assert [name for name in REQUEST_OPTIONS if f'`{name}`' not in TEXT] == []
    source = ''.join(path.read_text() for path in (Path(__file__).parents[2] / 'detkit' / 'serving').glob('*.py'))
    raised = set(re.findall(r'RequestProblem\(\s*(\d{3})', source))
    assert raised and raised <= set(re.findall(r'\b\d{3}\b', TEXT.partition('| status |')[2].partition('\n\n')[0]))
