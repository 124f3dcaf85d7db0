"""tools/analyze/optimize_anchors.py from the command line."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from tool_helpers import modules_loaded_by_help, run_tool, write_yolo_set

from detkit.analysis.data.anchors import object_sizes, optimize_anchors
from detkit.config import load_config
from detkit.structures.annotations import Annotations, Record
from detkit.utils.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / 'configs'
YOLOV5 = CONFIGS / 'yolov5' / 'det_n_coco8.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yolo_set(tmp_path_factory.mktemp('anchors'))


@pytest.mark.parametrize(('name', 'size'), [('yolov5/det_n_coco8', 'n'), ('yolov3/det_spp_coco8', 'tiny')])
def test_finds_anchors_and_prints_them_as_an_option(name, size, root, monkeypatch, capsys):
    config = CONFIGS / f'{name}.py'
    assert (
        run_tool(
            monkeypatch,
            'analyze/optimize_anchors',
            config,
            '--steps',
            20,
            '--cfg-options',
            f'data_root={root}',
            'img_size=640',
            f'size={size}',
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert '6 objects in 3 images at 640 pixels' in printed
    recalls = [float(row.split('|')[2]) for row in printed.splitlines() if row.startswith(('| before', '| after'))]
    assert recalls[1] == 1 >= recalls[0]
    option = re.search(r'--cfg-options "(.*)"', printed).group(1)
    anchors = load_config(config, [f'size={size}', option]).model.head.anchors
    listed = ast.literal_eval(re.search(r'anchors=(\[\n.*?\n\])', printed, re.DOTALL).group(1))
    assert [[tuple(shape) for shape in level] for level in anchors] == listed
    # The two objects of each image are 256 x 213 and 320 x 256 pixels.
    shapes = np.array(listed).reshape(-1, 2)
    for wh in ((256, 213.3), (320, 256)):
        assert (np.abs(shapes / wh - 1).max(1) < 0.02).any()


def test_from_python(root):
    report = optimize_anchors(str(YOLOV5), dict(data_root=str(root)), img_size=320, per_level=2, steps=5)
    assert report.improved and report.img_size == 320 and [len(level) for level in report.after] == [2, 2, 2]
    assert sum(report.fit_after.best_counts) == report.num_objects == 6 and report.num_small == 0
    assert report.fit_after.quality > 0.95
    again = optimize_anchors(str(YOLOV5), {'data_root': str(root), 'model.head.anchors': report.after}, 320, steps=0)
    assert again.before == report.after and again.fit_before == report.fit_after
    assert not again.improved and 'keep them' in again.lines()[-1]


def test_sizes_are_those_of_the_scaled_image():
    bboxes = np.array([[0, 0, 10, 20], [5, 5, 9, 9]], np.float32)
    record = Record('a.jpg', 'a', (50, 100), Annotations(np.zeros(2, np.int64), bboxes, np.array([False, True])))
    empty = Record('b.jpg', 'b', (50, 100), Annotations())
    assert object_sizes([record, empty], 200).tolist() == [[20, 40]]
    assert object_sizes([], 200).shape == (0, 2)
    with pytest.raises(DataError, match='size of c.jpg'):
        object_sizes([Record('c.jpg', 'c', None, Annotations())], 200)


def test_mistakes_are_named(root, tmp_path):
    options = dict(data_root=str(root))
    with pytest.raises(ConfigError, match='YOLOv8Head, has no anchors'):
        optimize_anchors(str(CONFIGS / 'yolov8' / 'det_n_coco8.py'), options)
    for wrong in (dict(steps=-1), dict(per_level=0)):
        with pytest.raises(ConfigError, match='at least 0'):
            optimize_anchors(str(YOLOV5), options, **wrong)
    with pytest.raises(ConfigError, match='--img-size'):
        optimize_anchors(str(YOLOV5), options, img_size=0)
    for path in (root / 'labels' / 'train').glob('*.txt'):
        empty = tmp_path / 'labels' / 'train' / path.name
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.write_text('0 0.5 0.5 0.0001 0.0001\n')
    (tmp_path / 'images').symlink_to(root / 'images')
    with pytest.raises(DataError, match='no object to fit'):
        optimize_anchors(str(YOLOV5), dict(data_root=str(tmp_path)), img_size=640)


def test_help_is_light():
    assert modules_loaded_by_help('analyze/optimize_anchors').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})
