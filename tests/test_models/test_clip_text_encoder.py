"""``CLIPTextEncoder``: a small CLIP of random weights in a folder, its cache, and classes by name in prediction.

The tests that run a CLIP need the package transformers, an extra of detkit, and are skipped without it.
"""

import copy
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import CONFIGS

from detkit.cli.main import main
from detkit.config import literal_text, load_config
from detkit.engine import save_checkpoint
from detkit.engine.checkpoint import load_checkpoint
from detkit.models.text_encoders import CLIPTextEncoder
from detkit.models.text_encoders.embedding_file import save_embeddings
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError, ConfigError, MissingPackageError

NAMES = ('red bolt', 'nut', 'a washer of a name that is cut off', 'Mülleimer')
DIMS = 24
_MERGES = [('r', 'e'), ('re', 'd</w>'), ('n', 'u'), ('nu', 't</w>'), ('b', 'o'), ('bo', 'l'), ('bol', 't</w>')]
_BEGIN, _END = '<|startoftext|>', '<|endoftext|>'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')


def write_clip(folder: Path, with_images: bool = False) -> Path:
    """A CLIP of random weights with its tokenizer; its half for texts alone, or both halves as they are published."""
    transformers = pytest.importorskip('transformers')
    folder.mkdir()
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f'{letter}</w>' for letter in letters), *map(''.join, _MERGES), _BEGIN, _END]
    number = {word: i for i, word in enumerate(words)}
    (folder / 'vocab.json').write_text(json.dumps(number))
    (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *(f'{a} {b}' for a, b in _MERGES), '']))
    special = dict(bos_token=_BEGIN, eos_token=_END, unk_token=_END, pad_token=_END)
    settings = dict(tokenizer_class='CLIPTokenizer', model_max_length=16, **special)
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    sizes = dict(hidden_size=32, intermediate_size=48, num_attention_heads=4, projection_dim=DIMS)
    text = dict(
        vocab_size=len(words), max_position_embeddings=16, num_hidden_layers=2, bos_token_id=number[_BEGIN],
        eos_token_id=number[_END], pad_token_id=number[_END], **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    if with_images:
        vision = dict(num_hidden_layers=1, image_size=32, patch_size=16, **sizes)
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIMS)
        transformers.CLIPModel(config).save_pretrained(folder)
    else:
        transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**text)).save_pretrained(folder)
    return folder


def test_a_model_is_loaded_without_what_transformers_sends(monkeypatch):
    # It asks a service to convert a model of the Hub that has no safetensors.
    names, seen = ('DISABLE_SAFETENSORS_CONVERSION', 'HF_HUB_DISABLE_TELEMETRY'), []
    for name in names:
        monkeypatch.delenv(name, raising=False)

    def from_pretrained(model, **options):
        seen.append([os.environ.get(name) for name in names])
        raise OSError('no network')

    loader = SimpleNamespace(from_pretrained=from_pretrained)
    logging = SimpleNamespace(get_verbosity=int, set_verbosity_error=int, set_verbosity=abs)
    fakes = {
        'transformers': SimpleNamespace(AutoTokenizer=loader, CLIPTextModelWithProjection=loader),
        'transformers.utils': SimpleNamespace(logging=logging),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    with pytest.raises(CheckpointError, match='no network'):
        CLIPTextEncoder('some/model', dims=DIMS)(NAMES)
    assert seen == [['1', '1']] and not any(name in os.environ for name in names)


@pytest.mark.parametrize('with_images', [False, True], ids=['texts', 'whole'])
def test_vectors_are_those_of_transformers(tmp_path, with_images, caplog):
    folder = write_clip(tmp_path / 'clip', with_images)
    found = CLIPTextEncoder(str(folder), dims=DIMS, template='a {}')(NAMES)
    assert not caplog.records  # the half for images is left out without a word
    transformers = pytest.importorskip('transformers')
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = (transformers.CLIPModel if with_images else transformers.CLIPTextModelWithProjection).from_pretrained(
        folder
    )
    for name, vector in zip(NAMES, found, strict=True):  # one by one, without padding
        tokens = tokenizer([f'a {name}'], truncation=True, return_tensors='pt')
        with torch.no_grad():
            wanted = model.eval().get_text_features(**tokens) if with_images else model.eval()(**tokens).text_embeds
        wanted = getattr(wanted, 'pooler_output', wanted)
        torch.testing.assert_close(vector, F.normalize(wanted, dim=1)[0], rtol=1e-5, atol=1e-6)
    assert len({tuple(vector) for vector in found.tolist()}) == len(NAMES)


def test_a_name_is_asked_for_once_and_keeps_its_vector_to_the_last_bit(tmp_path, monkeypatch):
    encoder = CLIPTextEncoder(str(write_clip(tmp_path / 'clip')), dims=DIMS)
    first = encoder(NAMES)
    assert first.shape == (4, DIMS) and torch.allclose(first.norm(dim=1), torch.ones(4))
    encoder(['pin'])  # which writes the cache again
    again = CLIPTextEncoder(encoder.model, dims=DIMS)
    monkeypatch.setattr(again, '_load', lambda: pytest.fail('the cache has all names'))
    assert torch.equal(again(NAMES[::-1]).flip(0), first)
    assert copy.deepcopy(encoder)._loaded is None
    with pytest.raises(ConfigError, match='vectors of 24 numbers, but dims is 512'):
        CLIPTextEncoder(encoder.model)(['screw'])


def test_the_cache_is_enough_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'transformers', None)
    encoder = CLIPTextEncoder(dims=3)
    save_embeddings(encoder.cache_file, ['nut', 'pin'], torch.tensor([[3.0, 0, 4], [0, 2, 0]]))
    assert torch.equal(encoder(['pin', 'nut']), torch.tensor([[0, 1, 0], [0.6, 0, 0.8]]))
    with pytest.raises(MissingPackageError, match=r'pip install detkit\[text\]'):
        encoder(['pin', 'washer'])


def test_a_cache_that_cannot_be_used_costs_only_time(tmp_path, monkeypatch):
    encoder = CLIPTextEncoder(dims=3)
    monkeypatch.setattr(encoder, '_encode', lambda names: torch.tensor([[3.0, 0, 4]]).repeat(len(names), 1))
    expected = torch.tensor([[0.6, 0, 0.8]])
    (tmp_path / 'cache').write_text('a file where the folder should be')
    assert torch.equal(encoder(['nut']), expected)
    (tmp_path / 'cache').unlink()
    assert torch.equal(encoder(['nut']), expected) and encoder.cache_file.is_file()
    encoder.cache_file.write_bytes(encoder.cache_file.read_bytes()[:200])  # as a machine that crashed leaves it
    assert torch.equal(encoder(['nut']), expected)
    monkeypatch.setattr(encoder, '_encode', lambda names: pytest.fail('the file was written anew'))
    assert torch.equal(encoder(['nut']), expected)


def test_a_folder_whose_model_was_replaced_has_other_vectors(tmp_path, monkeypatch):
    for cwd, value in (('a', 1.0), ('b', -1.0)):
        (tmp_path / cwd / 'clip').mkdir(parents=True)
        monkeypatch.chdir(tmp_path / cwd)
        encoder = CLIPTextEncoder('clip', dims=2)
        monkeypatch.setattr(encoder, '_encode', lambda names, value=value: torch.tensor([[value, 0.0]]))
        assert encoder(['nut']).tolist() == [[value, 0.0]]
    (tmp_path / 'b' / 'clip' / 'model.safetensors').write_bytes(b'new')
    monkeypatch.setattr(encoder, '_encode', lambda names: torch.tensor([[0.0, 1.0]]))
    assert encoder(['nut']).tolist() == [[0.0, 1.0]]


def test_a_model_that_cannot_be_loaded_is_one_sentence(tmp_path):
    folder = write_clip(tmp_path / 'clip')

    def refused(path: Path) -> str:
        with pytest.raises(CheckpointError) as caught:
            CLIPTextEncoder(str(path), dims=DIMS)(['pin'])
        return str(caught.value)

    (tmp_path / 'empty').mkdir()
    assert 'cannot be loaded' in refused(tmp_path / 'empty') and 'cannot be loaded' in refused(tmp_path / 'none')
    weights = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(weights[: len(weights) // 2])
    assert 'cannot be loaded' in refused(folder)
    (folder / 'model.safetensors').write_bytes(weights)
    (folder / 'merges.txt').write_text('#version: 0.2\nq q\n')
    assert 'cannot be loaded' in refused(folder)


def test_weights_that_a_folder_lacks_are_not_random(tmp_path):
    folder = write_clip(tmp_path / 'clip')
    transformers = pytest.importorskip('transformers')
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder)
    state = {name: value for name, value in model.state_dict().items() if 'projection' not in name}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(CheckpointError, match=r'clip.* lacks text_projection\.weight'):
        CLIPTextEncoder(str(folder), dims=DIMS)(['pin'])


def test_classes_by_name_are_embedded_by_clip(tmp_path, capsys):
    folder = write_clip(tmp_path / 'clip')
    encoder = dict(type='CLIPTextEncoder', model=str(folder), dims=DIMS)
    config = load_config(CONFIGS / 'yolo_world' / 'det_s_coco8.py', dict(widen_factor=0.125, text_encoder=encoder))
    torch.manual_seed(0)
    model = DETECTORS.build(config.model)
    meta = dict(
        format='detkit', format_version=1, classes=list(config.classes), task='det', config=literal_text(config)
    )
    save_checkpoint({'meta': meta, 'state_dict': model.state_dict()}, tmp_path / 'world.pth')
    assert load_checkpoint(tmp_path / 'world.pth')['state_dict']['texts'].shape == (80, DIMS)
    cv2.imwrite(str(tmp_path / 'x.png'), np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    arguments = [
        'predict',
        '-',
        str(tmp_path / 'world.pth'),
        str(tmp_path / 'x.png'),
        '--out-dir',
        str(tmp_path / 'out'),
    ]
    main([*arguments, '--device', 'cpu', '--classes', 'red bolt', 'nut'])
    assert CLIPTextEncoder(str(folder), DIMS).cache_file.is_file()
    assert 'x.png' in capsys.readouterr().out
