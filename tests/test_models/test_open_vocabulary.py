"""Detectors whose classes are texts: their parts, their text encoders, and the folding of texts into weights."""

import copy
import zipfile
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from builders import build_model, model_config

from detkit.engine.eval_loops import ValLoop
from detkit.engine.finetune import load_weights
from detkit.evaluation.evaluator import Evaluator
from detkit.inference import Predictor
from detkit.inference.vocabulary import label_of, names_of
from detkit.models.detectors import ModelInfo
from detkit.models.layers import ImagePoolingAttention
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.models.text_encoders import (
    EmbeddingFile,
    NgramTextEncoder,
    read_embeddings,
    save_embeddings,
)
from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError

NAMES = ('red bolt', 'nut', 'washer')
SMALL = dict(deepen_factor=0.33, widen_factor=0.125)


def small_model(version: int = 2, classes=NAMES) -> torch.nn.Module:
    torch.manual_seed(0)
    config = model_config('yolo_world_det', len(classes), version=version, **SMALL)
    model = DETECTORS.build(dict(config, classes=classes))
    model.init_weights()
    for module in model.modules():  # statistics other than those of the start
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.info = ModelInfo(classes=tuple(classes))
    return model.eval()


def outputs(model: torch.nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        preds = model(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)))
    return [*preds['cls_logits'], *preds['bbox_preds']]


def test_names_are_embedded_and_only_their_number_is_fixed():
    model = small_model()
    assert torch.equal(model.texts, NgramTextEncoder()(NAMES))
    other = model.with_classes(['nut', 'screw', 'red bolt', 'pin'])
    assert other.info.classes == ('nut', 'screw', 'red bolt', 'pin') and other.head.num_classes == 4
    assert torch.equal(other.texts[[0, 2]], model.texts[[1, 0]])
    assert other.backbone is model.backbone and model.head.num_classes == 3 and len(model.texts) == 3
    assert outputs(other)[0].shape[1] == 4


def test_a_name_alone_decides_the_logits_of_its_class():
    model = small_model()
    head, neck_fixed = model.with_classes(['nut', 'pin']), model.with_classes(['pin', 'nut'])
    for first, second in zip(outputs(head)[:3], outputs(neck_fixed)[:3], strict=True):
        torch.testing.assert_close(first, second.flip(1))


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('fuse', [False, True], ids=['unfused', 'fused'])
def test_folded_texts_change_no_output(version, fuse):
    model = small_model(version)
    expected = outputs(model)
    model = fuse_conv_bn(copy.deepcopy(model)) if fuse else model
    folded = model.reparameterized()
    for value, wanted in zip(outputs(folded), expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-4)
    assert model.takes_texts and folded.takes_texts == (version == 1)
    if version == 2:
        folded.texts = torch.full_like(folded.texts, float('nan'))  # nothing reads them any more
        assert all(value.isfinite().all() for value in outputs(folded))
        with pytest.raises(ConfigError, match='folded into this detector'):
            folded.with_classes(['pin'])


class Recorder(Evaluator):
    def __init__(self) -> None:
        super().__init__([])
        self.samples = []

    def process(self, outputs, data_batch) -> None:
        self.samples += outputs


class Images(list):
    metainfo: ClassVar[dict] = {}


class Loader(list):
    dataset = Images([0, 1])


def test_a_predictor_follows_weights_and_texts_that_change():
    model = small_model()
    torch.nn.init.zeros_(model.head.contrasts[0].bias)
    options = dict(score_thr=0.0, classes=['nut', 'pin'], img_size=64)
    image = torch.randint(256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    predictor = Predictor(model=model, **options)
    (before,) = predictor(image)
    with torch.no_grad():
        model.head.contrasts[0].bias.add_(0.5)
    (found,), (expected,) = predictor(image), Predictor(model=model, **options)(image)
    assert torch.equal(found.pred_instances.scores, expected.pred_instances.scores)
    assert not torch.equal(found.pred_instances.scores, before.pred_instances.scores)
    assert predictor.model.head.test_cfg['score_thr'] == 0.0


def test_a_validation_folds_the_texts_and_leaves_the_model_as_it_was(monkeypatch):
    model = small_model()
    model.head.test_cfg = {**model.head.test_cfg, 'score_thr': 0.0, 'max_per_img': 20}
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    meta = dict(matrix=np.eye(3), ori_shape=(64, 96), img_shape=(64, 96))
    batch = dict(inputs=images, gt=None, data_samples=[DetDataSample(metainfo=meta) for _ in images])
    runner = SimpleNamespace(
        model=model,
        device=torch.device('cpu'),
        call_hook=lambda *args, **kwargs: None,
        build_dataloader=lambda loader: loader,
        stop_signals=SimpleNamespace(received=False),
    )
    with torch.no_grad():
        expected = model.test_step(batch)
    texts_taken = []
    forward = type(model.head).forward
    monkeypatch.setattr(
        type(model.head),
        'forward',
        lambda self, *args, texts=None: texts_taken.append(texts) or forward(self, *args, texts=texts),
    )
    evaluator = Recorder()
    evaluator.evaluate = lambda size, keep: {}
    ValLoop(runner, Loader([batch]), evaluator).run()
    assert texts_taken == [None]
    for sample, wanted in zip(evaluator.samples, expected, strict=True):
        found, own = sample.pred_instances, wanted.pred_instances
        torch.testing.assert_close(found.scores, own.scores, rtol=1e-4, atol=1e-5)
    assert model.takes_texts and type(model.backbone.stem.bn) is torch.nn.BatchNorm2d


def test_weights_of_other_classes_leave_the_texts_as_they_are():
    source, target = small_model(classes=('cat', 'dog', 'nut')), small_model()
    content = {'state_dict': source.state_dict(), 'meta': {'classes': ['cat', 'dog', 'nut']}}
    report = load_weights(target, content, NAMES)
    assert not report.reinitialised and not report.unused
    assert torch.equal(target.texts, NgramTextEncoder()(NAMES))
    assert torch.equal(target.head.contrasts[0].bias, source.head.contrasts[0].bias)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(type='SingleStageDetector'), 'TextPAN needs the embeddings of texts, .*OpenVocabularyDetector'),
        (dict(text_encoder=dict(type='NgramTextEncoder', dims=64), head_dims=512), 'vectors of 64'),
        (dict(text_encoder=dict(type='NgramTextEncoder', dims=0)), 'at least 1'),
        (dict(text_encoder=dict(type='CLIPTextEncoder', template='a photo')), "must hold '{}' once"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    config = dict(model_config('yolo_world_det', 3, **SMALL))
    if 'head_dims' in change:
        config['head'] = dict(config['head'], text_dims=change.pop('head_dims'))
    config |= change
    if config['type'] == 'SingleStageDetector':
        config.pop('text_encoder')
    with pytest.raises(ConfigError, match=message):
        DETECTORS.build(config)


def test_vectors_of_another_length_reach_all_parts():
    config = dict(model_config('yolo_world_det', 3, **SMALL), text_encoder=dict(type='NgramTextEncoder', dims=64))
    model = DETECTORS.build(config).eval()
    assert model.texts.shape == (3, 64) and model.head.text_dims == model.neck[1].text_dims == 64
    assert outputs(model)[0].shape[1] == 3


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ([], 'no class is named'),
        (['nut', 'pin', 'nut'], "'nut' is named twice"),
        (['nut', ' '], r"classes\[1\] is ' ', which names nothing"),
        (['caf\udce9'], r"classes\[0\] is 'caf\\udce9', which is no valid text"),
    ],
)
def test_classes_that_make_no_sense_are_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        small_model().with_classes(names)


def test_numbers_among_names_are_those_of_the_model():
    assert names_of(['pin', 0, '2'], NAMES) == ['pin', 'red bolt', 'washer'] and names_of(['pin', '²'], NAMES)[1] == '²'
    assert names_of([0, '2'], NAMES) is None and names_of(['7', 'x'], ('7', 'x')) == ['7', 'x']
    with pytest.raises(ConfigError, match=r'no class 3 among the 3 .*\(red bolt, nut, washer\), .* from 0 to 2'):
        names_of(['pin', 3], NAMES)
    with pytest.raises(ConfigError, match='no class -1 among the 3'):  # no word that anybody looks for
        names_of(['-1'], NAMES)
    with pytest.raises(ConfigError, match='no class 99999'):  # more digits than Python converts
        names_of(['9' * 5000, 'pin'], NAMES)
    assert [label_of(entry, NAMES) for entry in ('2', '3', '9' * 5000, '-1', '²', 'nut')] == [2, *[None] * 5]


@pytest.mark.parametrize('found', [torch.rand(2, 512), torch.full((1, 512), float('nan')), [[0.0] * 512]])
def test_an_encoder_that_breaks_its_contract_is_named(found):
    model = small_model()
    model.text_encoder = lambda names: found
    with pytest.raises(ConfigError, match='text encoder function returns'):
        model.with_classes(['pin'])


def test_no_objects_at_all_train():
    from test_loss_parity import gt_batch

    model, gt = small_model(classes=tuple(map(str, range(80)))).train(), gt_batch()
    gt.valid.zero_()
    gt.labels.fill_(-1)
    losses = model(torch.rand(3, 3, 96, 128), gt, mode='loss')
    sum(losses.values()).backward()
    assert losses['loss_box'] == 0 and losses['loss_cls'] > 0


def test_spelling_decides_the_vectors_of_ngrams():
    encoder = NgramTextEncoder()
    bolt, bolts, same, nut, signs = encoder(['red bolt', 'Red bolts', ' RED  BOLT', 'nut', '?!'])
    assert torch.equal(bolt, same) and 0.7 < bolt @ bolts < 1 and abs(bolt @ nut) < 0.2 and signs.norm() == 1


# ---- Files of embeddings


def test_a_file_gives_back_what_was_written(tmp_path):
    vectors = torch.randn(3, 8)
    save_embeddings(tmp_path / 'a' / 'names.npz', NAMES, vectors)
    found = EmbeddingFile(str(tmp_path / 'a' / 'names.npz'), dims=8)(NAMES)
    torch.testing.assert_close(found, torch.nn.functional.normalize(vectors, dim=1))


def test_safetensors_hold_a_vector_a_name(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    vectors = dict(zip(NAMES, torch.nn.functional.normalize(torch.randn(3, 8), dim=1), strict=True))
    save_file({**vectors}, tmp_path / 'names.safetensors')
    found = read_embeddings(tmp_path / 'names.safetensors')
    assert list(sorted(found)) == sorted(NAMES)
    torch.testing.assert_close(found['nut'], vectors['nut'])


def _npz(path, **arrays):
    np.savez(path, **arrays)


ROWS = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(names=np.array(['a', 'b'])), "no array 'embeddings'"),
        (dict(names=np.array(['a', 'b'], dtype=object), embeddings=ROWS), r'names \(N,\) of text .*found object'),
        (dict(names=np.array([1, 2]), embeddings=ROWS), 'of text'),
        (dict(names=np.array(['a']), embeddings=ROWS), '1 names and 2 embeddings'),
        (dict(names=np.array(['a', 'a']), embeddings=ROWS), '1 of them different'),
        (dict(names=np.array(['a', 'b']), embeddings=ROWS.astype(int)), 'of floats'),
        (dict(names=np.array(['a', 'b']), embeddings=ROWS * [[1], [np.nan]]), "the embedding of 'b' is zero or has"),
        (dict(names=np.array(['a', 'b']), embeddings=ROWS * [[1], [0]]), "the embedding of 'b' is zero or has"),
    ],
    ids=['missing', 'pickled', 'numbers', 'too few', 'twice', 'integers', 'nan', 'zero'],
)
def test_a_wrong_file_is_one_clear_sentence(tmp_path, arrays, message):
    _npz(tmp_path / 'names.npz', **arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_embeddings(tmp_path / 'names.npz')
    assert 'names.npz' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64, np.longdouble])
def test_very_large_and_small_numbers_have_a_direction(tmp_path, dtype):
    limits = np.finfo(dtype)
    rows = np.array([[limits.max, limits.max], [limits.tiny, -limits.tiny], [0, 1]], dtype)
    _npz(tmp_path / 'names.npz', names=np.array(NAMES), embeddings=rows)
    found = EmbeddingFile(str(tmp_path / 'names.npz'), dims=2)(NAMES)
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [0.5**0.5, -(0.5**0.5)], [0, 1]]))


def _array(data: bytes, shape: tuple, descr: str, version: tuple[int, int]) -> bytes:
    header = repr(dict(descr=descr, fortran_order=False, shape=shape)).encode() + b'\n'
    return b'\x93NUMPY' + bytes(version) + len(header).to_bytes(2 if version == (1, 0) else 4, 'little') + header + data


@pytest.mark.parametrize('version', [(1, 0), (3, 0)])
@pytest.mark.parametrize(
    ('shape', 'descr', 'data', 'message'),
    [
        ((1 << 40,), '<U4', b'a', 'names has 1 bytes, but its header says <U4'),
        ((2,), '<U100000000', b'a', 'names has 1 bytes'),
        ((2,), '<U1', b'\xff' * 8, 'damaged'),  # beyond the last character there is
        ((2,), '|V4', b'a' * 8, r'of text .*found \|V4'),
    ],
    ids=['many', 'long', 'characters', 'bytes'],
)
def test_a_forged_array_is_refused_before_it_is_read(tmp_path, shape, descr, data, message, version):
    with zipfile.ZipFile(tmp_path / 'names.npz', 'w') as archive:
        archive.writestr('names.npy', _array(data, shape, descr, version))
        archive.writestr('embeddings.npy', _array(ROWS.tobytes(), ROWS.shape, '<f4', version))
    with pytest.raises(DataError, match=message):
        read_embeddings(tmp_path / 'names.npz')


@pytest.mark.parametrize('method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_within_compressed_arrays_is_named(tmp_path, method):
    rows = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    with zipfile.ZipFile(tmp_path / 'names.npz', 'w', method) as archive:
        archive.writestr('embeddings.npy', _array(rows.tobytes(), rows.shape, '<f4', (1, 0)))
        archive.writestr('names.npy', _array('ab'.encode('utf-32-le'), (2,), '<U1', (1, 0)))
    whole, refused = read_embeddings(tmp_path / 'names.npz'), 0
    data = (tmp_path / 'names.npz').read_bytes()
    for place in range(44, 600, 5):
        (tmp_path / 'names.npz').write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        try:
            found = read_embeddings(tmp_path / 'names.npz')
        except DataError as error:
            refused += 1
            assert 'names.npz' in str(error)
        else:
            assert torch.equal(found['b'], whole['b'])
    assert refused > 100


def test_a_file_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / 'names.npz', names=np.array(NAMES), embeddings=np.ones((3, 500), np.float32))
    assert len(read_embeddings(tmp_path / 'names.npz')) == 3
    monkeypatch.setattr('detkit.models.text_encoders.embedding_file.MAX_FILE_BYTES', 5999)
    with pytest.raises(DataError, match=r'embeddings unpacks to 6,000 bytes, .* DETKIT_MAX_FILE_BYTES raises that'):
        read_embeddings(tmp_path / 'names.npz')


def test_the_name_of_a_file_may_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_embeddings('~names.npz', NAMES, torch.ones(3, 8))
    assert (tmp_path / '~names.npz').is_file() and list(read_embeddings('~names.npz')) == list(NAMES)


def test_a_missing_name_and_another_length_are_named(tmp_path):
    save_embeddings(tmp_path / 'names.npz', NAMES, torch.randn(3, 8))
    with pytest.raises(DataError, match="no embedding of red bolts.* Did you mean 'red bolt'"):
        EmbeddingFile(str(tmp_path / 'names.npz'), dims=8)(['red bolts'])
    with pytest.raises(DataError, match='vectors of 8 numbers, but the model takes 512'):
        EmbeddingFile(str(tmp_path / 'names.npz'))(['nut'])
    (tmp_path / 'cut.npz').write_bytes((tmp_path / 'names.npz').read_bytes()[:60])
    for name, message in (('cut.npz', 'damaged'), ('gone.npz', 'does not exist')):
        with pytest.raises(DataError, match=message):
            read_embeddings(tmp_path / name)
    with pytest.raises(ConfigError, match='must end in .npz'):
        save_embeddings(tmp_path / 'names.txt', NAMES, torch.randn(3, 8))


@pytest.mark.parametrize('size', [(3, 6), (4, 5), (1, 2), (13, 20)])
def test_traced_image_pooling_divides_maps_of_any_size(size):
    """ONNX has pooling to three cells for multiples of three alone."""
    torch.manual_seed(0)
    pooling = ImagePoolingAttention((8, 16), text_dims=12, embed_dims=16, num_heads=2).eval().requires_grad_(False)
    texts, feats = torch.randn(5, 12), (torch.randn(2, 8, *size), torch.randn(2, 16, 4, 4))
    traced = torch.jit.trace(lambda *maps: pooling(maps, texts), feats, check_trace=False)
    assert 'adaptive' not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(*feats), pooling(feats, texts))
    others = torch.randn(3, 8, 7, 5), torch.randn(3, 16, 11, 2)  # an exported file may be given other sizes
    torch.testing.assert_close(traced(*others), pooling(others, texts))


def test_models_of_the_base_config_in_both_versions():
    first, second = (build_model('yolo_world_det', 3, version=version, **SMALL) for version in (1, 2))
    assert first.neck[1].image_pooling is not None and second.neck[1].image_pooling is None
