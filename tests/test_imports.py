"""What importing costs and needs."""

import json
import os
import subprocess
import sys

import pytest
from small_models import write_checkpoint

HEAVY = ('torch', 'mmengine', 'cv2', 'numpy')


def run_python(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True)


def test_import_of_the_package_is_light():
    done = run_python(
        '-c', f'import sys, detkit; detkit.Detector; print([name for name in {HEAVY} if name in sys.modules])'
    )
    assert done.stdout.strip() == '[]', done.stderr


COMMANDS_WITHOUT_TORCH = """
import contextlib, io, json, sys
from detkit.cli.main import COMMANDS, main

loaded = {}
for argv in [*([*name.split(), '--help'] for name in COMMANDS), ['--help'], ['configs'], ['zoo', 'list']]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            status = main(argv)
        except SystemExit as end:
            status = end.code
    loaded[' '.join(argv)] = [status or 0, len(out.getvalue()), *(name for name in HEAVY if name in sys.modules)]
print(json.dumps(loaded))
"""


def test_help_and_lists_need_no_torch():
    done = run_python('-c', f'HEAVY = {HEAVY}\n{COMMANDS_WITHOUT_TORCH}')
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert {'train --help', 'analyze compare --help', 'configs', 'zoo list'} <= loaded.keys()
    assert {argv: found for argv, (status, length, *found) in loaded.items() if status or not length or found} == {}


def test_help_of_a_tool_is_light(repo):
    done = run_python('-X', 'importtime', str(repo / 'tools' / 'train.py'), '--help')
    imported = {line.split('|')[-1].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0 and 'usage:' in done.stdout
    assert imported.isdisjoint(HEAVY)


# Each of these takes a tenth of PyTorch's import or more, and none takes part in a prediction.
UNUSED_BY_PREDICTION = (
    'detkit.evaluation.coco_metric',
    'detkit.engine.runner',
    'detkit.models.backbones.resnet',
    'matplotlib',
    'mmengine.hooks',
    'mmengine.model',
    'mmengine.runner',
    'pandas',
    'scipy',
    'sympy',
    'torch._dynamo',
    'torch.distributed.fsdp',
    'torch.onnx',
    'torchvision',
)
PREDICTION = """
import detkit
model = detkit.Detector(given)
(result,) = model(torch.zeros(3, 64, 64, dtype=torch.uint8), img_size=64)
assert len(result.bboxes) == len(result.scores)
"""

DETECTORS_OF_RESNET = """
import numpy as np
from detkit.config import load_config
from detkit.inference.model import PREDICTION_KEYS
from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample
meta = dict(matrix=np.eye(3), ori_shape=(64, 64), img_shape=(64, 64))
for name in given.split():
    config = load_config(name, need_classes=False, checked=PREDICTION_KEYS)
    model = DETECTORS.build(config.model).eval()
    batch = dict(inputs=torch.zeros(1, 3, 64, 64, dtype=torch.uint8), gt=None)
    with torch.inference_mode():
        (result,) = model.test_step(dict(batch, data_samples=[DetDataSample(metainfo=meta)]))
    assert 'bboxes' in result.pred_instances
"""

# Each of these takes a tenth of a second to a second, and a run begins without them.
UNUSED_BY_A_START = ('matplotlib', 'mmengine.hooks', 'mmengine.model', 'mmengine.optim', 'mmengine.runner', 'pandas')
START = """
from detkit.config import load_config
from detkit.engine.runner import Runner
Runner(load_config('yolov8/det_n_coco8', {'work_dir': given}, need_classes=False)).close()
"""

LOADED_TO_PREDICT = """
from detkit.config import load_config
from detkit.inference.model import PREDICTION_KEYS
for name in given.split():
    load_config(name, need_classes=False, checked=PREDICTION_KEYS)
"""

# Each part begins in a process that has imported PyTorch alone: what it needs, and what it must do without. Configs of
# which none may import something share a process.
PARTS = {
    'prediction': (PREDICTION, UNUSED_BY_PREDICTION),
    'resnet': (DETECTORS_OF_RESNET, ('torchvision', 'torch._dynamo', 'sympy')),
    'start': (START, UNUSED_BY_A_START),
    'loaded': (LOADED_TO_PREDICT, ('torch._dynamo', 'sympy')),
    'package': ("__import__('detkit.' + given)", ()),
}
# PyTorch's import takes longer than most parts, which are therefore forks of one process.
FORKS = """
import json, os, sys, traceback
import torch
parts, before = json.loads(sys.argv[1]), set(sys.modules)
for number, (code, unused, given) in enumerate(parts):
    if os.fork() == 0:
        try:
            exec(code, {'torch': torch, 'given': given})
        except BaseException:
            traceback.print_exc()
        else:
            print('did', number, json.dumps(sorted(set(unused) & (set(sys.modules) - before))), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
def test_parts_import_what_they_run(tmp_path):
    resnets = ('retinanet/det_r18_coco8', 'fcos/det_r18_coco8', 'mask_rcnn/seg_r18_coco8')
    loaded = ('detr', 'rtdetr', 'dfine', 'deim', 'deimv2', 'rfdetr', 'yolo_world')
    given = {
        'prediction': [str(write_checkpoint(tmp_path / 'model.pth'))],
        'resnet': [' '.join((*resnets, 'keypoint_rcnn/pose_r18_coco8'))],
        'start': [str(tmp_path / 'run')],
        'loaded': [' '.join(f'{family}/det_coco' for family in loaded)],
        'package': ['datasets', 'engine', 'evaluation', 'inference', 'models', 'visualization'],
    }
    parts = [(*PARTS[name], value) for name, values in given.items() for value in values]
    done = run_python('-c', FORKS, json.dumps(parts))
    lines = [line.split(maxsplit=2)[1:] for line in done.stdout.splitlines() if line.startswith('did ')]
    assert {parts[int(number)][2]: imported for number, imported in lines} == {value: '[]' for _, _, value in parts}, (
        done.stderr
    )


IMPORT_ALL = """
import contextlib, importlib, pkgutil, sys
for name in ('pkg_resources', 'distutils'):
    sys.modules[name] = None  # importing it fails, as where setuptools is absent
import detkit
from detkit.utils.errors import MissingPackageError
modules = []
for module in pkgutil.walk_packages(detkit.__path__, 'detkit.'):
    with contextlib.suppress(MissingPackageError):  # of a room whose packages an extra installs
        modules.append(importlib.import_module(module.name))

# With all files imported, a name that is also a file's would be the file.
rooms = [module for module in modules if '__getattr__' in vars(module)]
values = {f'{room.__name__}.{name}': getattr(room, name) for room in rooms for name in room.__all__}
print(len(rooms), [name for name, value in values.items() if type(value) is type(sys)])

# A component is found by its name where its room lists it, or by the module that is its registry's location.
from detkit.registry import _REGISTRIES
missing = []
for registry in _REGISTRIES:
    locations = [importlib.import_module(location) for location in registry._locations]
    for name, part in registry.module_dict.items():
        listed = any(name in getattr(room, '__all__', ()) for room in locations)
        home = getattr(part, '__module__', '')
        plain = [module.__name__ for module in locations if module not in rooms]
        if home.startswith('detkit.') and not listed and not any(home.startswith(module) for module in plain):
            missing.append((registry.name, name))
print(missing)
"""


@pytest.mark.thorough
def test_every_module_imports_without_setuptools_and_every_component_is_found():
    done = run_python('-c', IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    files, missing = done.stdout.splitlines()[-2:]
    assert int(files.split()[0]) > 15 and files.endswith(' []') and missing == '[]'
