"""Darknet's files: recognised, checked, read, written, and what is said of those that do not fit."""

import codecs
from pathlib import Path

import numpy as np
import pytest
import torch
from darknet_models import build_family
from parity.darknet_streams import cfg_path, read_layers, seeded_stream, write_weights

from detkit.converters.darknet import Header, convert_darknet, from_stream, read_stream, to_stream
from detkit.converters.darknet_layout import Layout, compare_layers, format_cfg, parse_cfg
from detkit.engine.checkpoint import load_checkpoint
from detkit.inference.model import init_detector
from detkit.inference.steps import input_size
from detkit.models.layers import set_batch_norm
from detkit.utils.errors import CheckpointError

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / 'configs'
TINY = cfg_path('yolov3_tiny')
TINY_NUMBERS = 8_858_734


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> Path:
    """Weights of a tiny model with 80 classes."""
    path = tmp_path_factory.mktemp('darknet') / 'tiny.weights'
    write_weights(path, seeded_stream(TINY))
    return path


def edit(path: Path, target: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    target.write_text(text)
    return target


def small_cfg(target: Path, classes: int = 2) -> Path:
    """The tiny model with other classes, anchors and image size, written as people write it."""
    return edit(
        TINY,
        target,
        ('classes=80', f'classes = {classes}'),
        ('filters=255', f'filters = {3 * (5 + classes)}'),
        ('10,14, 23,27', ' 11,15,  24,28'),
        ('width=608', 'width=320'),
        ('height=608', '# a comment\nheight=320'),
        ('layers=13', 'layers = -4'),
        ('layers=19,8', 'layers = -1, 8'),
    )


def test_a_file_is_recognised_by_its_size(tiny, tmp_path):
    target = tmp_path / 'made' / 'tiny.pth'
    printed = dict(line.split(maxsplit=1) for line in convert_darknet(tiny, target, CONFIGS))
    assert list(printed) == ['read', 'wrote', 'config', 'predict', 'test', 'train']
    assert 'YOLOv3-tiny, 80 classes (person, bicycle, car, ...), 8,858,734 numbers' in printed['read']
    file, *options = printed['config'].split()
    assert file == 'yolov3/det_coco' and options[:2] == ['--cfg-options', 'size=tiny']
    assert "letterbox={'rounding':'down','pad_to':'size'}" in printed['config'] and 'rect=False' in printed['config']
    for line in ('predict', 'test', 'train'):
        command, name, config, *_ = printed[line].split()
        assert (command, name, config) == (
            'detkit',
            line,
            'yolov3/det_coco' if line != 'train' else 'yolov3/det_custom',
        )

    content = load_checkpoint(target)
    assert len(content['meta']['classes']) == 80 and content['meta']['task'] == 'det'
    assert content['meta']['converted_from'] == {'file': 'tiny.weights', 'project': 'Darknet', 'images_seen': 0}
    model = init_detector(None, target, device='cpu')
    assert input_size(model.info.config, False) == 416
    assert len(model(torch.rand(1, 3, 64, 64))['anchor_preds']) == 2


def test_there_and_back_is_the_same_file(tiny, tmp_path):
    convert_darknet(tiny, tmp_path / 'a.pth', CONFIGS)
    lines = convert_darknet(tmp_path / 'a.pth', tmp_path / 'b.weights', CONFIGS)
    assert [line.split()[0] for line in lines] == ['read', 'wrote', 'wrote', 'wrote']
    assert (tmp_path / 'b.weights').read_bytes() == tiny.read_bytes()
    with pytest.raises(CheckpointError, match=r"ends in \.weights: write '.*d\.weights'"):
        convert_darknet(tmp_path / 'a.pth', tmp_path / 'd.pth', CONFIGS)
    assert (tmp_path / 'b.cfg').read_text() == TINY.read_text().replace('608', '416')
    names = (tmp_path / 'b.names').read_text().splitlines()
    assert len(names) == 80 and names[0] == 'person'
    convert_darknet(tmp_path / 'b.weights', tmp_path / 'c.pth', CONFIGS, tmp_path / 'b.cfg', tmp_path / 'b.names')
    first, second = (load_checkpoint(tmp_path / f'{name}.pth') for name in 'ac')
    assert {**first['meta'], 'converted_from': 0} == {**second['meta'], 'converted_from': 0}
    assert all(torch.equal(value, second['state_dict'][name]) for name, value in first['state_dict'].items())
    convert_darknet(tmp_path / 'a.pth', tmp_path / 'b.weights', CONFIGS)  # over what is the same anyway


def test_a_cfg_gives_classes_anchors_and_size(tmp_path):
    cfg = small_cfg(tmp_path / 'small.cfg')
    cfg.write_bytes(codecs.BOM_UTF8 + cfg.read_bytes())  # as editors of Windows save text
    weights, names, target = tmp_path / 'small.weights', tmp_path / 'small.names', tmp_path / 'small.pth'
    write_weights(weights, seeded_stream(edit(TINY, tmp_path / 'plain.cfg', ('filters=255', 'filters=21'))))
    names.write_text('bolt\nnut\n\n')
    printed = convert_darknet(weights, target, CONFIGS, cfg, names)
    assert any("with other classes, anchors; write '-' for it" in line and 'size=tiny' in line for line in printed)
    model = init_detector(None, target, device='cpu')
    assert model.info.classes == ('bolt', 'nut') and input_size(model.info.config, False) == 320
    assert model.head.prior_generator.anchors == (((11, 15), (24, 28), (37, 58)), ((81, 82), (135, 169), (344, 319)))

    convert_darknet(weights, tmp_path / 'other.pth', CONFIGS)  # the number of classes follows from the size
    assert load_checkpoint(tmp_path / 'other.pth')['meta']['classes'] == ['class 0', 'class 1']
    (tmp_path / 'one.names').write_text('bolt\n')
    with pytest.raises(CheckpointError, match='names 1 classes, but .*small.cfg has 2'):
        convert_darknet(weights, target, CONFIGS, cfg, tmp_path / 'one.names')


@pytest.mark.parametrize('family', ['yolov3', 'yolov3_spp', 'yolov3_tiny'])
def test_a_layout_is_its_own_cfg(family):
    layout = Layout(build_family(family))
    _, sections = parse_cfg(cfg_path(family).read_text(), family)
    assert compare_layers(sections, layout.layers, family, 'the model') == (len(sections), None)
    assert (
        len(layout.layers)
        == len(read_layers(cfg_path(family)))
        == {'yolov3': 107, 'yolov3_spp': 114, 'yolov3_tiny': 24}[family]
    )


@pytest.mark.parametrize(
    'family, change, message',
    [
        (
            'yolov3_tiny',
            ('activation=leaky', 'activation=mish'),
            r'line 6 \(\[conv\w+\], layer 0\): activation is mish',
        ),
        ('yolov3_tiny', ('stride=1\n\n[conv', 'stride=2\n\n[conv'), 'stride is 2, where YOLOv3-tiny has 1'),
        ('yolov3_tiny', ('filters=255', 'filters=256'), 'filters is 256, where YOLOv3-tiny has 255'),
        ('yolov3_tiny', ('layers=19,8', 'layers=-1,6'), 'layers is 19, 6, where YOLOv3-tiny has 19, 8'),
        ('yolov3_tiny', ('num=6', 'num=6\nscale_x_y=1.05'), 'scale_x_y is 1.05'),
        ('yolov3_tiny', ('mask=0,1,2', 'mask=0,1,6'), 'but there are 6 anchors'),
        ('yolov3_tiny', ('mask=0,1,2', 'mask=zero'), "mask is 'zero', where numbers are expected"),
        ('yolov3_tiny', ('[maxpool]', '[avgpool]'), r'\[avgpool\].* YOLOv3-tiny has \[maxpool\] there'),
        ('yolov3_tiny', ('[yolo]', '[region]'), r'has no \[yolo\] layer'),
        ('yolov3_tiny', ('[net]', '[nets]'), r'does not begin with \[net\]'),
        ('yolov3_tiny', ('stride=2', 'stride'), "'stride' is neither a .section. nor key=value"),
        ('yolov3_spp', ('size=13', 'size=15'), 'size is 15, where YOLOv3-SPP has 13'),
    ],
)
def test_another_model_is_told_where_it_departs(family, change, message, tiny, tmp_path):
    cfg = edit(cfg_path(family), tmp_path / 'other.cfg', change)
    with pytest.raises(CheckpointError, match=message):
        convert_darknet(tiny, tmp_path / 'out.pth', CONFIGS, cfg)
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    'numbers, message',
    [
        (TINY_NUMBERS - 1, '8,858,733 numbers, which no model has'),
        (TINY_NUMBERS + 1, 'YOLOv3-SPP 63,052,381'),
    ],
)
def test_every_number_must_be_used(tmp_path, numbers, message):
    path = tmp_path / 'x.weights'
    write_weights(path, np.zeros(numbers, '<f4'))
    with pytest.raises(CheckpointError, match=message):
        convert_darknet(path, tmp_path / 'x.pth', CONFIGS)
    with pytest.raises(CheckpointError, match=f'{numbers:,} numbers, YOLOv3-tiny takes 8,858,734'):
        convert_darknet(path, tmp_path / 'x.pth', CONFIGS, TINY)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'no header'),
        (b'PK\x03\x04' + bytes(60), 'a zip archive'),
        (bytes(21), 'a truncated one: 21 bytes'),
        (np.full(60, 7_000_000, '<i4').tobytes(), 'no Darknet .weights file'),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / 'x.weights'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        convert_darknet(path, tmp_path / 'x.pth', CONFIGS)


def test_missing_files_are_named(tiny, tmp_path):
    for arguments in ((tmp_path / 'no.weights',), (tiny, tmp_path / 'no.cfg'), (tiny, None, tmp_path / 'no.names')):
        source, *rest = arguments
        with pytest.raises(CheckpointError, match='no.(weights|cfg|names) does not exist'):
            convert_darknet(source, tmp_path / 'x.pth', CONFIGS, *rest)
    with pytest.raises(CheckpointError, match='another name'):
        convert_darknet(tiny, tiny, CONFIGS)
    with pytest.raises(CheckpointError, match="folder of detkit's configs"):
        convert_darknet(tiny, tmp_path / 'x.pth', tmp_path)


@pytest.mark.parametrize('value, message', [(np.nan, 'infinite numbers'), (-1.0, 'negative variances')])
def test_a_stream_of_nonsense_is_refused(value, message):
    model = build_family('yolov3_tiny')
    values = seeded_stream(TINY)
    values[3 * 16] = value  # the first running variance
    with pytest.raises(CheckpointError, match=f'backbone.stem.bn.running_var of tiny has {message}'):
        from_stream(values, Layout(model).layers, model.state_dict(), 'x.weights', 'tiny')


def test_the_backbone_alone_is_a_start(tmp_path):
    path, target = tmp_path / 'darknet53.conv.74', tmp_path / 'darknet53.pth'
    with open(path, 'wb') as file:
        file.write(Header().to_bytes())
        file.truncate(162_482_580)  # zeros, of the published file's length
    printed = convert_darknet(path, target, CONFIGS)
    path.unlink()
    assert printed[0].endswith('Darknet-53 without a head, 40,620,640 numbers')
    assert printed[-1].endswith(f'det_coco --cfg-options model.backbone.weights={target}')
    state = load_checkpoint(target, mmap=True)['state_dict']
    assert set(state) == {f'backbone.{name}' for name in build_family('yolov3').backbone.state_dict()}
    target.unlink()


@pytest.mark.parametrize(
    'header, size',
    [
        (Header(0, 1, 0, 7), 16),
        (Header(0, 2, 5, 2**40), 20),
        (Header(1, 0, 0, 3), 20),
    ],
)
def test_headers(header, size, tmp_path):
    path = tmp_path / 'x.weights'
    path.write_bytes(header.to_bytes() + np.arange(3, dtype='<f4').tobytes())
    assert path.stat().st_size == size + 12
    found, values = read_stream(path)
    assert found == header and values.tolist() == [0, 1, 2]


def test_another_epsilon_goes_into_the_variances():
    """The written model computes the same, though Darknet has an epsilon of its own."""
    torch.manual_seed(0)
    model, again = (build_family('yolov3_tiny', widen_factor=0.125, device='cpu').double().eval() for _ in range(2))
    set_batch_norm(model, dict(eps=1e-3))
    layers = Layout(model).layers
    values = to_stream(layers, model.state_dict(), {layer.prefix: 1e-3 for layer in layers})
    again.load_state_dict(from_stream(values, layers, model.state_dict(), 'x', 'y'))
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for a, b in zip(model(x)['anchor_preds'], again(x)['anchor_preds'], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


def test_what_stands_in_the_way_stays(tiny, tmp_path):
    convert_darknet(tiny, tmp_path / 'a.pth', CONFIGS)
    mine = 'señor'.encode('latin-1')  # text in another encoding than the one that is written
    (tmp_path / 'b.cfg').write_bytes(mine)
    with pytest.raises(CheckpointError, match='b.cfg is in the way'):
        convert_darknet(tmp_path / 'a.pth', tmp_path / 'b.weights', CONFIGS)
    assert (tmp_path / 'b.cfg').read_bytes() == mine and not (tmp_path / 'b.weights').exists()
    (tmp_path / 'd.names').mkdir()
    with pytest.raises(CheckpointError, match='d.names is in the way'):
        convert_darknet(tmp_path / 'a.pth', tmp_path / 'd.weights', CONFIGS)
    with pytest.raises(CheckpointError, match='a checkpoint of detkit'):
        convert_darknet(tmp_path / 'a.pth', tmp_path / 'c.weights', CONFIGS, cfg=TINY)


def test_models_without_a_layout():
    model = build_family('yolov3', widen_factor=0.125)
    with pytest.raises(CheckpointError, match='Darknet has no layers for'):
        Layout(torch.nn.Sequential(model))
    model.backbone.stem.act = torch.nn.Tanh()
    with pytest.raises(CheckpointError, match=r'no activation Tanh\(\)'):
        Layout(model)


def test_a_cfg_is_written_as_it_was_read():
    net, sections = parse_cfg(TINY.read_text(), TINY)
    assert format_cfg([net, *sections]) == TINY.read_text()


def test_layers_counted_backwards_are_the_same():
    """As the published files have it: beside each other in the pyramid pooling, elsewhere over a distance."""
    layout = Layout(build_family('yolov3_spp')).layers
    _, sections = parse_cfg(cfg_path('yolov3_spp').read_text(), 'x.cfg')
    relative = {}
    for index, section in enumerate(sections):
        key = 'from' if section.kind == 'shortcut' else 'layers'
        if key in section.options:
            sources = [int(value) - index for value in section.options[key].split(',')]
            relative.setdefault(tuple(sources), []).append(index)
            section.options[key] = ', '.join(map(str, sources))
    assert len(relative[-3,]) == 23 and relative[-4,] == [81, 90, 102]
    assert relative[-2,] == [79] and relative[-1, -3, -5, -6] == [83]
    assert compare_layers(sections, layout, 'x.cfg', 'YOLOv3-SPP') == (114, None)
