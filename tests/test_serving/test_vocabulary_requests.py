"""Requests that name the classes of a YOLO-World: embedded beside the other requests, and refused in a sentence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from builders import model_config
from serving_helpers import LIMITS, SMALL, running

from detkit.api import Detector
from detkit.config import literal_text
from detkit.engine import save_checkpoint
from detkit.models.text_encoders import NgramTextEncoder
from detkit.registry import DETECTORS
from detkit.serving.model import ServedModel
from detkit.utils.errors import CheckpointError, MissingPackageError

CLASSES = ('red bolt', 'nut')


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp('world') / 'world.pth'
    options = dict(version=2, deepen_factor=0.33, widen_factor=0.125)
    model = model_config('yolo_world_det', len(CLASSES), **options).to_dict()
    model.update(classes=CLASSES, text_encoder=dict(type='NgramTextEncoder'))
    torch.manual_seed(0)
    meta = dict(format='detkit', format_version=1, classes=list(CLASSES), task='det')
    meta['config'] = literal_text(dict(task='det', classes=CLASSES, model=model))
    save_checkpoint(dict(meta=meta, state_dict=DETECTORS.build(model).state_dict()), path)
    with running(ServedModel(Detector(path, device='cpu'), LIMITS)) as client:
        yield client


def test_a_request_names_its_classes(served, picture):
    answer = served.post(picture, f'{SMALL}&score_thr=0&max_per_img=20&classes=washer,1')
    assert answer.status == 200
    assert {found['name'] for found in answer.json['results'][0]['objects']} <= {'washer', 'nut'}
    for names in ('washer,washer', '%20a,%20', '9' * 5000, f'washer,{"9" * 5000}', '7'):
        answer = served.post(picture, f'{SMALL}&classes={names}')
        assert answer.status == 422 and 'exported' not in answer.error


@pytest.mark.parametrize('error', [MissingPackageError, CheckpointError])
def test_names_that_cannot_be_embedded_are_the_client_s_and_tell_no_paths(served, picture, monkeypatch, error):
    def fail(self, names):
        raise error('/secret/folder has no model')

    monkeypatch.setattr(NgramTextEncoder, '__call__', fail)
    answer = served.post(picture, f'{SMALL}&classes=spring')
    assert answer.status == 422 and 'red bolt, nut' in answer.error and 'secret' not in answer.error
    assert served.post(picture, f'{SMALL}&classes=nut').status == 200


def test_a_slow_text_encoder_stops_no_other_request(served, picture, monkeypatch):
    embed, begun, go_on = NgramTextEncoder.__call__, Event(), Event()

    def wait(self, names):
        begun.set()
        assert go_on.wait(20)
        return embed(self, names)

    monkeypatch.setattr(NgramTextEncoder, '__call__', wait)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served.post, picture, f'{SMALL}&classes=screw')
        try:
            assert begun.wait(20) and served.get('/health').status == 200
        finally:
            go_on.set()
        assert slow.result().status == 200
