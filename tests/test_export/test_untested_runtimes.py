"""Formats whose runtimes are for other machines: what is written, which command builds the rest, and what is said."""

import shlex
import stat
import sys

import pytest
import torch
from every_task import build_task
from small_models import write_images

from detkit.api import Detector
from detkit.export import ExportSettings, export_detector, open_exported
from detkit.export.format import all_formats, find_format
from detkit.export.formats.tensorrt import TensorRtFormat, input_shapes
from detkit.export.formats.torchscript import TorchSession
from detkit.export.plan import make_plan
from detkit.utils.errors import CheckpointError, ConfigError, MissingPackageError


@pytest.fixture
def images(tmp_path):
    return [str(path) for path in write_images(tmp_path / 'images', 2)]


@pytest.fixture
def no_builder(monkeypatch):
    monkeypatch.setattr(TensorRtFormat, 'why_unbuilt', lambda self: 'there is neither trtexec nor a package')


def test_tensorrt_without_a_builder_is_a_checked_onnx_file_and_a_command(tmp_path, images, no_builder):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    settings = ExportSettings('tensorrt', img_size=64, batch_size=4, dynamic=True, half=True)
    lines = []
    done = export_detector(build_task('yolov8 det', 64), tmp_path / 'det.engine', settings, images, log=lines.append)
    assert done.path == tmp_path / 'det.onnx' and done.differences.bboxes < 0.01
    assert not done.description.half and Detector(done.path).model.description.format == 'onnx'
    assert 'there is neither trtexec nor a package: build' in lines[-3] and 'not tested' in lines[-1]
    assert shlex.split(lines[-2]) == [
        'trtexec',
        f'--onnx={tmp_path}/det.onnx',
        f'--saveEngine={tmp_path}/det.engine',
        '--minShapes=images:1x3x32x32',
        '--optShapes=images:4x3x64x64',
        '--maxShapes=images:4x3x128x128',
        '--fp16',
    ]


def test_the_shapes_of_an_engine(monkeypatch):
    monkeypatch.setattr(TensorRtFormat, 'require', lambda self, to_write=False: None)
    plan = make_plan(build_task('detr det', 64), ExportSettings('tensorrt', img_size=(96, 64), batch_size=2))
    assert input_shapes(plan) == {
        'images': ((1, 3, 48, 32), (2, 3, 96, 64), (2, 3, 192, 128)),
        'img_shapes': ((1, 2), (2, 2), (2, 2)),
    }
    plan = make_plan(build_task('yolov8 cls', 64), ExportSettings('tensorrt', img_size=64, batch_size=2))
    assert input_shapes(plan) == {'images': ((2, 3, 64, 64),) * 3} and not plan.dynamic


@pytest.mark.parametrize('status', [0, 1])
def test_trtexec_is_run_where_it_is(status, tmp_path, monkeypatch):
    """A stand-in takes the words that are given, and writes an engine or fails as trtexec does."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    program = tmp_path / 'bin' / 'trtexec'
    program.parent.mkdir()
    program.write_text(
        f'#!{sys.executable}\nimport pathlib, sys\n'
        'words = dict(word.lstrip("-").split("=") for word in sys.argv[1:] if "=" in word)\n'
        f'if {status}: sys.exit(print("[E] no such layer") or 1)\n'
        'assert pathlib.Path(words["onnx"]).is_file()\n'
        'pathlib.Path(words["saveEngine"]).write_bytes(b"engine")\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', str(program.parent), prepend=':')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(TensorRtFormat, 'why_unchecked', lambda self: 'the package tensorrt is not installed')
    model, lines = build_task('yolov8 cls', 64), []
    if status:
        with pytest.raises(ConfigError, match=r'trtexec cannot build this network: \[E\] no such layer'):
            export_detector(model, tmp_path / 'cls.engine', ExportSettings('tensorrt', img_size=64))
        assert not (tmp_path / 'cls.engine').exists()
        return
    done = export_detector(model, tmp_path / 'cls.engine', ExportSettings('tensorrt', img_size=64), log=lines.append)
    assert done.path.read_bytes() == b'engine' and done.differences is None
    assert 'not compared with PyTorch, as the package tensorrt is not installed' in lines[0]
    fmt = find_format('tensorrt')
    assert '"format": "tensorrt"' in fmt.read_description(done.path)
    assert open_exported(tmp_path / 'cls.onnx').description.format == 'onnx'
    with pytest.raises(ConfigError, match='cannot be run here, as the package tensorrt is not installed'):
        fmt.open(done.path, torch.device('cpu'), 1)
    (tmp_path / 'cls.onnx').unlink()
    with pytest.raises(CheckpointError, match='cls.onnx is missing, which describes'):
        fmt.read_description(done.path)


def test_data_are_refused_where_a_file_cannot_run(tmp_path, no_builder):
    from small_models import write_shallow_checkpoint

    detector = Detector(write_shallow_checkpoint(tmp_path / 'det.pth', 'det'), device='cpu')
    with pytest.raises(ConfigError, match='tensorrt files cannot be tested here, as there is neither trtexec'):
        detector.export('tensorrt', data='data.yaml')


def test_what_is_untested_is_said_in_the_help_and_the_docs(repo):
    text = (repo / 'docs' / 'export.md').read_text()
    for fmt in all_formats():
        if fmt.untested:
            assert fmt.name in ('coreml', 'tensorrt') and f'`{fmt.name}`' in text and fmt.untested
    from detkit.cli.main import find_command

    assert 'coreml and tensorrt are not tested' in ' '.join(find_command('export').parser().format_help().split())


def test_core_ml_is_given_no_addcmul():
    from detkit.export.formats.coreml import _simplify

    class Scaled(torch.nn.Module):
        def forward(self, x):
            return torch.addcmul(x, x + 1, x - 2, value=3) + torch.addcmul(x, x, x)

    x = torch.rand(2, 3)
    module = torch.export.export(Scaled(), (x,)).run_decompositions({}).module()
    expected = module(x)
    _simplify(module)
    assert not [node for node in module.graph.nodes if 'addcmul' in str(node.target)]
    torch.testing.assert_close(module(x), expected)


def test_a_network_is_given_images_as_they_are_laid_out_in_its_example():
    """AOTInductor reads the memory in this order without a look at the strides, and computed anything of others."""
    seen = []

    def network(images):
        seen.append(images)
        return (images,)

    images = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    session = TorchSession(network, ('images',), torch.device('cpu'), 'network')
    assert torch.equal(session({'images': images})['images'], images)
    assert seen[0].is_contiguous() and not images.is_contiguous()


def test_a_package_that_lacks_another_one_is_named(tmp_path, images, monkeypatch):
    fmt = type(find_format('torchscript'))
    monkeypatch.setattr(fmt, 'packages', {'torch': 'torch'})

    def convert(self, *args):
        raise ModuleNotFoundError("No module named 'jax'")

    monkeypatch.setattr(fmt, 'convert', convert)
    text = (
        "torchscript cannot be written, as one of its packages cannot be imported: No module named 'jax'; pip install"
    )
    with pytest.raises(MissingPackageError, match=text):
        export_detector(build_task('yolov8 det', 64), tmp_path / 'a.torchscript', ExportSettings('torchscript'), images)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['yolov8 seg', 'yolov8 pose', 'yolov8 cls', 'yolov5 det', 'detr seg'])
def test_core_ml_declares_the_outputs_and_the_description(name, tmp_path, images):
    coremltools = pytest.importorskip('coremltools')
    if sys.platform == 'darwin':
        pytest.skip('its files are compared with PyTorch here')
    lines, path = [], tmp_path / 'model.mlpackage'
    for _ in range(2):  # the second one replaces the first
        done = export_detector(
            build_task(name, 64), path, ExportSettings('coreml', img_size=64, dynamic=False), images, log=lines.append
        )
    assert done.differences is None and 'Core ML predicts on macOS only' in lines[0] and 'not' in lines[1]
    spec = coremltools.utils.load_spec(str(path))
    assert [output.name for output in spec.description.output] == list(done.description.outputs)
    fmt = find_format('coreml')
    assert '"format": "coreml"' in fmt.read_description(path)
    with pytest.raises(CheckpointError, match='Core ML declares the outputs'):
        fmt.verify(path, {'scores': (1, 2)})
    with pytest.raises(ConfigError, match='cannot be run here, as Core ML predicts on macOS only'):
        open_exported(path, runtime='coreml')
    (path / 'Data' / 'com.apple.CoreML' / 'model.mlmodel').write_bytes(b'no model')
    with pytest.raises(CheckpointError, match='is no package of Core ML, or is damaged'):
        open_exported(path, runtime='coreml')
