"""Metrics through exported files beside those of the checkpoint."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from every_task import CLASSES, TASKS, build_task, write_task
from small_models import write_images
from torch._dynamo.testing import CompileCounter

from detkit import Detector
from detkit.analysis.speed.benchmark_report import as_dict, console_tables, write_benchmark_csv
from detkit.analysis.speed.benchmarking import Settings, Variant, benchmark_prediction, choose_variants
from detkit.analysis.speed.execution_modes import ExecutionMode, execution_modes, network_maker
from detkit.config import load_config
from detkit.engine.evaluate import EvaluationSettings, evaluation_runner
from detkit.inference import Predictor
from detkit.utils.errors import ConfigError

DET_CUSTOM = str(CONFIGS / 'yolov8' / 'det_custom.py')


def write_found_truth(root: Path, checkpoint: Path) -> Path:
    """Write pictures whose labels are some of what a detector finds in them, moved aside, so that its mAP is not 1.

    The folder has YOLO's layout, with a ``data.yaml``, whose path is returned.
    """
    predictor = Predictor(None, checkpoint, device='cpu', img_size=64, score_thr=0.01, max_per_img=12)
    pictures = write_images(root / 'images' / 'val', 3) + write_images(root / 'images' / 'val' / 'high', 2, (90, 50))
    rng = np.random.default_rng(0)
    for path, sample in zip(pictures, predictor.predict([str(path) for path in pictures]), strict=True):
        height, width = sample.ori_shape
        found = sample.pred_instances
        bboxes = found.bboxes.numpy()[::2] + rng.uniform(-4, 4, (len(found.bboxes[::2]), 4))
        x0, y0, x1, y1 = np.clip(bboxes.T, 0, [[width], [height], [width], [height]])
        rows = np.stack([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height], 1)
        labels = found.labels.tolist()[::2]
        lines = [' '.join(map(str, (label, *row))) for label, row in zip(labels, rows.tolist(), strict=True)]
        target = root / 'labels' / path.relative_to(root / 'images').with_suffix('.txt')
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text('\n'.join(lines) + '\n')
    (root / 'data.yaml').write_text(f'names: {list(CLASSES)}\ntrain: images/val\nval: images/val\n')
    return root / 'data.yaml'


def metrics_of(path: Path | str, options: list[str], **settings) -> dict[str, float]:
    runner = evaluation_runner(
        load_config(DET_CUSTOM, options), str(path), EvaluationSettings('val', device='cpu', **settings)
    )
    try:
        return runner.test()
    finally:
        runner.close()


@pytest.mark.thorough
def test_a_file_of_fixed_size_is_tested_where_images_are_resized_by_their_shorter_side(tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    checkpoint = write_task(tmp_path / 'model.pth', 'retinanet det', 64)
    data = write_found_truth(tmp_path / 'data', checkpoint)
    Detector(checkpoint, device='cpu').export(
        'onnx', img_size=64, dynamic=False, data=data, images=tmp_path / 'data' / 'images'
    )
    row = next(line for line in capsys.readouterr().out.splitlines() if 'coco/bbox_mAP ' in line)
    before, after, _ = (float(cell) for cell in row.strip('| ').split('|')[1:])
    assert before == pytest.approx(after, abs=1e-3) and before > 0.01


@pytest.mark.slow
@pytest.mark.parametrize('nms', [False, True], ids=['plain', 'nms'])
@pytest.mark.parametrize('dynamic', [False, True], ids=['static', 'dynamic'])
@pytest.mark.parametrize('name', ['onnx', 'openvino'])
def test_a_file_has_the_metrics_of_its_checkpoint(name, dynamic, nms, tmp_path):
    pytest.importorskip({'onnx': 'onnxruntime'}.get(name, name))
    checkpoint = write_task(tmp_path / 'model.pth', 'yolov8 det', 64)
    data = write_found_truth(tmp_path / 'data', checkpoint)
    options = [f'data_yaml={data}', 'img_size=64', 'num_workers=0']
    # Suppression in the file keeps the likeliest class of a box.
    options += ['model.head.test_cfg.multi_label=False'] * nms
    thresholds = dict(score_thr=0.001, iou_thr=0.7) if nms else {}
    path = Detector(checkpoint, device='cpu').export(
        name, img_size=64, dynamic=dynamic, nms=nms, images=tmp_path / 'data' / 'images', **thresholds
    )
    expected = metrics_of(checkpoint, options, square=not dynamic)
    assert 0.1 < expected['coco/bbox_mAP'] < 0.9
    assert metrics_of(path, options) == pytest.approx(expected, abs=1e-3)


@pytest.mark.thorough
def test_each_variant_is_tested_as_it_is_timed(tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    checkpoint = str(write_task(tmp_path / 'model.pth', 'yolov8 det', 64))
    data = write_found_truth(tmp_path / 'data', checkpoint)
    options = [f'data_yaml={data}', 'img_size=64', 'num_workers=0']
    expected = metrics_of(checkpoint, options, square=True)
    assert 0.1 < expected['coco/bbox_mAP'] < 0.9
    settings = Settings(
        device='cpu',
        img_size=64,
        rounds=2,
        memory=False,
        options=[options[0], 'img_size=96', options[2]],  # img_size above replaces it
        images=[str(tmp_path / 'data' / 'images')],
        split='val',
    )
    variants = choose_variants([DET_CUSTOM], [checkpoint], modes=execution_modes(runtimes=['onnx']))
    found = benchmark_prediction(variants, settings)
    assert found.measurements[0].metrics == expected
    for own in found.measurements:
        assert own.metrics == pytest.approx(expected, abs=1e-4), own.variant.label
    (exported,) = (tmp_path / 'cache').rglob('network.onnx')
    alone = benchmark_prediction([Variant('file', DET_CUSTOM, str(exported))], settings)
    assert alone.measurements[0].metrics == pytest.approx(expected, abs=1e-4)
    text = console_tables(found)
    value = f'{expected["coco/bbox_mAP"]:.4f}'
    assert text.count(f' {value} |') == 2 and 'bbox mAP' in text and 'Metrics of the val data' in text
    assert '|          - |' in console_tables(alone)
    write_benchmark_csv(found, tmp_path / 'b.csv')
    rows = list(csv.DictReader((tmp_path / 'b.csv').open()))
    assert [float(row['coco/bbox_mAP']) for row in rows] == pytest.approx([expected['coco/bbox_mAP']] * 2, abs=1e-4)
    assert as_dict(found)['variants'][1]['metrics'] == found.measurements[1].metrics
    with pytest.raises(ConfigError, match='runs in one way: time it without --amp'):
        benchmark_prediction([Variant('file', DET_CUSTOM, str(exported), ExecutionMode(amp=True))], settings)
    with pytest.raises(ConfigError, match='random weights, of which a test says nothing'):
        benchmark_prediction([Variant('it', DET_CUSTOM)], settings)


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(TASKS))
def test_a_network_of_every_task_is_compiled_as_one_graph(name, monkeypatch):
    graphs = CompileCounter()
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=graphs))
    model = build_task(name, 64)
    network = network_maker(model, ExecutionMode(compiled=True))()
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = model.data_preprocessor({'inputs': images}, False)
    with torch.inference_mode():
        torch.testing.assert_close(network(data), model(**data, mode='tensor'), rtol=1e-4, atol=1e-4)
    assert graphs.frame_count == 1
