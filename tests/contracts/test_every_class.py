"""Every registered part of a model against its contract."""

import inspect

import numpy as np
import pytest
import torch
from small_parts import CHANNELS, SIZE, SMALL_DECODER, STRIDES, batch, head_config, own_names, texts_of
from torch import nn

from detkit import protocols
from detkit.config.signatures import arguments_of
from detkit.contracts import protocols_of
from detkit.models.layers import ACTIVATIONS
from detkit.models.text_encoders import save_embeddings
from detkit.registry import (
    ASSIGNERS,
    BACKBONES,
    CODERS,
    DATA_PREPROCESSORS,
    DETECTORS,
    HEADS,
    LAYERS,
    LOSSES,
    MATCH_COSTS,
    NECKS,
    PRIOR_GENERATORS,
    TEXT_ENCODERS,
)
from detkit.structures.data_sample import DetDataSample

# A head for each detector.
HEAD_OF_DETECTOR = {
    'DETR': 'DETRHead',
    'ImageClassifier': 'MLPClassifyHead',
    'OpenVocabularyDetector': 'YOLOWorldHead',
    'SingleStageDetector': 'YOLOv8Head',
    'TwoStageDetector': 'TwoStageHead',
}
# Arguments of small networks.
SMALL = {
    'CSPDarknet': dict(deepen_factor=0.33, widen_factor=0.125),
    'Darknet': dict(depth='tiny'),
    'ResNet': dict(depth=18),
}


def parameters(function) -> list[tuple[str, bool]]:
    """The names of a method's arguments, and whether each may be left out."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return [(parameter.name, parameter.default is None) for parameter in given]


@pytest.mark.parametrize('name', own_names(LOSSES))
def test_a_loss_has_a_kind_the_one_signature_and_a_weight(name):
    cls = LOSSES.get(name)
    assert protocols.Loss in protocols_of(cls) and protocols_of(cls) > {protocols.Loss}
    assert parameters(cls.forward) == [('pred', False), ('target', False), ('weight', True), ('avg_factor', True)]
    assert cls(loss_weight=2.5).loss_weight == 2.5


@pytest.mark.parametrize('name', own_names(ASSIGNERS))
def test_an_assigner_has_a_kind_and_the_one_signature(name):
    cls = ASSIGNERS.get(name)
    assert protocols_of(cls) > {protocols.Assigner}
    assert parameters(cls.__call__) == [('preds', False), ('priors', False), ('gt', False)]
    assert not isinstance(cls(), nn.Module)


@pytest.mark.parametrize('name', own_names(CODERS))
def test_a_coder_has_a_kind_and_its_methods(name):
    cls = CODERS.get(name)
    (kind,) = protocols_of(cls)
    for method, function in vars(kind).items():
        if inspect.isfunction(function) and not method.startswith('_'):
            wanted, found = parameters(function), parameters(vars_of(cls, method))
            assert [n for n, _ in found][: len(wanted)] == [n for n, _ in wanted] or method == 'angles'


def vars_of(cls: type, name: str):
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


@pytest.mark.parametrize('name', own_names(MATCH_COSTS))
def test_a_match_cost_is_one_number_a_pair(name):
    cost = MATCH_COSTS.build(dict(type=name, weight=2.0))
    assert protocols.MatchCost in protocols_of(type(cost)) and cost.weight == 2
    boxes = torch.rand(2, 5, cost.box_dims[0]) * 0.5 + 0.2
    pairs = cost(torch.randn(2, 5, 4), boxes, torch.zeros(2, 3, dtype=torch.int64), boxes[:, :3])
    assert pairs.shape == (2, 5, 3) and pairs.isfinite().all()


@pytest.mark.parametrize('name', own_names(BACKBONES))
def test_a_backbone_returns_the_maps_that_it_declares(name):
    backbone = BACKBONES.build(dict(type=name, **SMALL.get(name, {}))).eval()
    with torch.no_grad():
        feats = backbone(torch.rand(1, 3, 64, 64))
    assert isinstance(feats, tuple)
    assert [tuple(f.shape[1:]) for f in feats] == [
        (width, 64 // stride, 64 // stride)
        for width, stride in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]


@pytest.mark.parametrize('name', own_names(NECKS))
def test_a_neck_returns_the_maps_that_it_declares(name):
    neck = NECKS.build(dict(type=name, in_channels=CHANNELS)).eval()
    with torch.no_grad():
        maps = tuple(torch.rand(1, w, 64 // s, 64 // s) for w, s in zip(CHANNELS, STRIDES, strict=True))
        feats = neck(maps, **texts_of(neck))
    assert isinstance(feats, tuple) and [f.shape[1] for f in feats] == list(neck.out_channels)


@pytest.mark.parametrize('name', own_names(HEADS))
def test_a_head_has_the_methods_and_states_what_it_takes(name):
    cls = HEADS.get(name)
    more = [name for name in ('gt', 'texts') if getattr(cls, f'needs_{name}')]
    assert [n for n, _ in parameters(cls.forward)] == ['feats', 'padding_mask', *more]
    assert [n for n, _ in parameters(cls.loss)] == ['preds', 'gt']
    assert [n for n, _ in parameters(cls.predict)] == ['preds', 'metas']
    assert parameters(cls.decode) == [('preds', False), ('img_shapes', True)]
    assert [n for n, _ in parameters(cls.results)] == ['decoded', 'metas']
    names = arguments_of(cls).names
    parts = ('assigner', 'one_assigner', 'bbox_coder', 'transformer', 'position_encoding', 'decoder')
    assert set(cls.takes) == {n for n in names if n in parts or n.startswith('loss_')} == set(cls.default_parts)
    assert {'num_classes', 'in_channels', 'test_cfg'} <= set(names)


@pytest.mark.parametrize('name', own_names(DETECTORS))
def test_a_detector_has_three_modes(name):
    assert protocols_of(DETECTORS.get(name)) == {protocols.Detector}
    detector = DETECTORS.build(
        dict(
            type=name,
            backbone=dict(type='CSPDarknet', **SMALL['CSPDarknet']),
            head=head_config(HEAD_OF_DETECTOR[name]),
        )
    )
    assert protocols.DataPreprocessor in protocols_of(type(detector.data_preprocessor))
    images, gt = torch.rand(2, 3, SIZE, SIZE), batch()
    assert {'cls_logits'} <= set(detector(images, gt))
    assert all(value.ndim == 0 for value in detector(images, gt, mode='loss').values())
    meta = dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), matrix=np.eye(3))
    samples = [DetDataSample(metainfo=meta) for _ in range(2)]
    results = detector.eval()(images, data_samples=samples, mode='predict')
    assert [type(result) for result in results] == [DetDataSample, DetDataSample]
    with pytest.raises(ValueError, match='mode must be'):
        detector(images, gt, mode='train')


@pytest.mark.parametrize('name', own_names(DATA_PREPROCESSORS))
def test_a_data_preprocessor_makes_float_images_and_keeps_the_rest(name):
    preprocessor = DATA_PREPROCESSORS.build(dict(type=name))
    assert protocols.DataPreprocessor in protocols_of(type(preprocessor))
    images, gt = torch.full((2, 3, SIZE, SIZE), 255, dtype=torch.uint8), batch()
    for training in (False, True):
        made = preprocessor(dict(inputs=images, gt=gt, data_samples=['first', 'second']), training)
        assert made['inputs'].dtype == torch.float32 and made['inputs'].shape == images.shape
        assert torch.equal(made['gt'].bboxes, gt.bboxes) and made['data_samples'] == ['first', 'second']
    assert preprocessor(dict(inputs=images)) | dict(inputs=None) == dict(inputs=None, gt=None, data_samples=None)
    assert images.min() == 255  # the batch itself is not changed


@pytest.mark.parametrize('name', own_names(LAYERS))
def test_a_layer_keeps_the_shapes_of_its_kind(name):
    (kind,) = protocols_of(LAYERS.get(name))
    if kind is protocols.Block:
        block = LAYERS.build(dict(type=name, in_channels=8, out_channels=12, num_blocks=2))
        assert block(torch.rand(2, 8, 5, 6)).shape == (2, 12, 5, 6)
        return
    if kind is protocols.Downsample:
        layer = LAYERS.build(dict(type=name, in_channels=8, out_channels=12))
        assert layer(torch.rand(2, 8, 5, 6)).shape == (2, 12, 3, 3)
        return
    if kind is protocols.TextBlock:
        block = LAYERS.build(dict(type=name, in_channels=8, out_channels=12, num_blocks=2, text_dims=16))
        for shape in ((4, 16), (2, 4, 16)):
            assert block(torch.rand(2, 8, 5, 6), torch.rand(shape)).shape == (2, 12, 5, 6)
        return
    padding_mask = torch.zeros(2, 5, 6, dtype=torch.bool)
    padding_mask[1, :, 4:] = True
    if kind is protocols.PositionEncoding:
        encoding = LAYERS.build(dict(type=name, embed_dims=8))
        for mask in (None, padding_mask):
            encoded = encoding(torch.rand(2, 3, 5, 6), mask)
            assert encoding.embed_dims == 8 and encoded.shape in ((1, 8, 5, 6), (2, 8, 5, 6))
        return
    if kind is protocols.EdgeDecoder:
        decoder = LAYERS.build(dict(type=name, num_levels=2, **SMALL_DECODER))
        shapes = (3, 6, 16), (3, 6, 4), (3, 26, 16)
        made = decoder(*(torch.rand(shape) for shape in shapes), [(4, 5), (2, 3)], torch.eye(6, dtype=torch.bool))
        bins = len(decoder.bin_scale.distances())
        assert [each.shape for each in made] == [(2, 3, 6, 16), (2, 3, 6, 4), (2, 3, 6, 4, bins), (3, 6, 4)]
        return
    if kind is protocols.QueryDecoder:
        decoder = LAYERS.build(dict(type=name, num_levels=2, **SMALL_DECODER))
        assert (decoder.embed_dims, decoder.num_layers) == (16, 2)
        content, bboxes = torch.rand(3, 6, 16), torch.rand(3, 6, 4)
        memory, sizes = torch.rand(3, 26, 16), [(4, 5), (2, 3)]
        for mask in (None, torch.eye(6, dtype=torch.bool)):
            decoded, refined = decoder(content, bboxes, memory, sizes, mask)
            assert decoded.shape == (2, 3, 6, 16) and refined.shape == (2, 3, 6, 4)
        # Groups are a mask of blocks.
        groups = torch.arange(6) // 2
        masked, _ = decoder(content, bboxes, memory, sizes, groups.unsqueeze(1) == groups)
        torch.testing.assert_close(decoder(content, bboxes, memory, sizes, num_groups=3)[0], masked)
        return
    assert kind is protocols.Transformer
    transformer = LAYERS.build(dict(type=name, embed_dims=8, num_heads=2, num_decoder_layers=3)).eval()
    assert (transformer.embed_dims, transformer.num_heads) == (8, 2)
    cells, positions, mask = torch.rand(2, 30, 8), torch.rand(1, 30, 8), padding_mask.flatten(1)
    queries = torch.rand(4, 8)
    memory, decoded = transformer(cells, positions, queries, mask)
    assert memory.shape == (2, 30, 8) and decoded.shape == (3, 2, 4, 8)
    changed = cells.masked_fill(mask.unsqueeze(-1), 5.0)  # in the padding, which no query looks at
    assert torch.allclose(transformer(changed, positions, queries, mask)[1], decoded, atol=1e-5)


@pytest.mark.parametrize('name', own_names(TEXT_ENCODERS))
def test_a_text_encoder_makes_the_same_vectors_of_length_1_in_every_call(name, tmp_path, monkeypatch):
    names, vectors = ['red bolt', 'nut', 'ß'], torch.nn.functional.normalize(torch.randn(3, 16), dim=1)
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path))
    save_embeddings(tmp_path / 'names.npz', names, vectors)
    more = {'EmbeddingFile': dict(path=str(tmp_path / 'names.npz'))}.get(name, {})
    encoder = TEXT_ENCODERS.build(dict(type=name, dims=16, **more))
    assert protocols_of(type(encoder)) == {protocols.TextEncoder}
    if name == 'CLIPTextEncoder':  # whose cache needs no model
        save_embeddings(encoder.cache_file, names, vectors)
    made = encoder(names)
    assert made.shape == (3, encoder.dims) == (3, 16) and made.dtype == torch.float32
    torch.testing.assert_close(made.norm(dim=1), torch.ones(3))
    assert torch.equal(encoder(names[::-1]), made.flip(0)) and encoder([]).shape == (0, 16)


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_an_activation_keeps_the_shape(name):
    assert LAYERS.build(dict(type=name))(torch.randn(2, 3, 4, 4)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize('name', own_names(PRIOR_GENERATORS))
def test_a_prior_generator_makes_priors_of_every_map_and_keeps_them(name):
    cls = PRIOR_GENERATORS.get(name)
    assert protocols_of(cls) == {protocols.PriorGenerator}
    anchors = dict(anchors=[[(8, 8), (16, 8)], [(32, 32), (64, 32)]]) if 'anchors' in arguments_of(cls).names else {}
    generator = PRIOR_GENERATORS.build(dict(type=name, strides=(8, 16), **anchors))
    assert generator.strides == (8, 16)
    sizes = ((4, 6), (2, 3))
    priors = generator(sizes)
    assert generator(sizes) is priors
    points = torch.cat([level.points for level in priors]) if isinstance(priors, list) else priors.points
    assert len(points) == sum(h * w for h, w in sizes) * getattr(generator, 'num_shapes', 1)
    assert (points >= 0).all() and (points < torch.tensor([48.0, 32.0])).all()
    double = generator(sizes, dtype=torch.float64)
    assert (double[0] if isinstance(double, list) else double).points.dtype == torch.float64
    with pytest.raises(ValueError, match='1 maps for strides'):
        generator(sizes[:1])
