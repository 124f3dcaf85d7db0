from pathlib import Path

import pytest
from builders import CONFIGS
from small_models import write_checkpoint
from test_analysis.results import class_precisions
from test_tools.tool_helpers import write_yolo_set

from detkit.analysis.errors.bootstrap import mean_precision
from detkit.analysis.errors.evaluated_model import ModelEvaluation
from detkit.analysis.errors.matching import match
from detkit.datasets.class_names import COCO80
from detkit.engine.evaluate import EvaluationSettings
from detkit.utils.errors import ConfigError, DataError

CONFIG = CONFIGS / 'yolov8' / 'seg_n_coco8.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp('collect')
    root = write_yolo_set(folder / 'data')
    options = [f'data_root={root}', 'img_size=64', 'num_workers=0', 'cache=none', 'max_skipped=0.6']
    return write_checkpoint(folder / 'seg.pth', classes=COCO80), options


def test_results_are_what_the_figures_were_made_of(files):
    checkpoint, options = files
    collected = ModelEvaluation(CONFIG, checkpoint, options, EvaluationSettings('train', device='cpu')).run()
    assert collected.label == 'seg_n_coco8' and collected.classes == COCO80
    assert collected.metric.needs == ('bbox', 'segm')
    assert [Path(result.img_path).stem for result in collected.results] == ['train0', 'train1', 'train2']
    for kind in collected.metric.needs:
        precisions = class_precisions(match(collected.results, COCO80, kind))[0]
        expected = collected.metrics[f'coco/{kind}_mAP']
        assert mean_precision(precisions[:, 0], (0, 1)) == pytest.approx(expected, abs=1e-9)


def test_unreadable_images_are_left_out(files, tmp_path):
    checkpoint, options = files
    root = write_yolo_set(tmp_path / 'data')
    (root / 'images' / 'val' / 'val0.png').write_bytes(b'no picture')
    collected = ModelEvaluation(
        CONFIG, checkpoint, [f'data_root={root}', *options[1:]], EvaluationSettings(device='cpu'), 'mine'
    ).run()
    assert collected.label == 'mine'
    assert [Path(result.img_path).stem for result in collected.results] == ['val1']


def test_errors(files, tmp_path):
    checkpoint, options = files
    with pytest.raises(ConfigError, match='no val_evaluator; give all or none'):
        ModelEvaluation(
            CONFIG,
            checkpoint,
            [*options, 'test_evaluator=None', 'val_evaluator=None'],
            EvaluationSettings(device='cpu'),
        ).run()
    with pytest.raises(DataError):
        ModelEvaluation(
            CONFIG, checkpoint, [f'data_root={tmp_path / "none"}', *options[1:]], EvaluationSettings(device='cpu')
        ).run()
