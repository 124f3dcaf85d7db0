import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS, model_config
from mmengine.config import Config
from mmengine.structures import InstanceData
from small_models import make_config, write_checkpoint, write_images
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.speed import prediction_speed, training_speed
from detkit.analysis.speed.agreement import agreement
from detkit.analysis.speed.benchmark_report import (
    as_dict,
    console_tables,
    spread_of,
    verdict,
    write_benchmark_csv,
    write_benchmark_json,
)
from detkit.analysis.speed.benchmarking import (
    Benchmark,
    Measurement,
    Settings,
    Variant,
    benchmark_prediction,
    choose_variants,
    time_networks,
)
from detkit.analysis.speed.execution_modes import ExecutionMode, execution_modes, network_maker
from detkit.analysis.speed.peak_memory import PeakMemory, in_fresh_process, process_peak
from detkit.config import load_config
from detkit.datasets.collate import make_gt_batch
from detkit.datasets.transforms.loading import read_image
from detkit.inference import Predictor, find_images, init_detector
from detkit.registry import DETECTORS
from detkit.structures.annotations import Annotations
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError, DetkitError

DET = str(CONFIGS / 'yolov8' / 'det_n_coco8.py')


def small(**changes) -> Settings:
    return replace(Settings(device='cpu', img_size=64, rounds=2, memory=False), **changes)


# ---- what to time ----------------------------------------------------------------------------------------------------


def test_variants_are_configs_in_ways():
    variants = choose_variants([DET, DET], ['none', 'b.pth'], modes=execution_modes(amp=True, runtimes=['onnx']))
    assert [(v.label, v.checkpoint) for v in variants] == [
        ('det_n_coco8-1', None),
        ('det_n_coco8-1 amp', None),
        ('det_n_coco8-1 onnx', None),
        ('det_n_coco8-2', 'b.pth'),
        ('det_n_coco8-2 amp', 'b.pth'),
        ('det_n_coco8-2 onnx', 'b.pth'),
    ]
    assert [mode.name for mode in execution_modes(True, True)] == ['', 'amp', 'compile', 'amp compile']
    with pytest.raises(ConfigError, match="1 checkpoints for 2 configs; give one for each, or 'none'"):
        choose_variants([DET, DET], ['a.pth'])
    for wrong, said in (((0,), 'is 0'), ((), 'is missing')):
        with pytest.raises(ConfigError, match=f'a batch size {said}'):
            Settings(batch_sizes=wrong)


# ---- prediction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('task', ['seg', 'pose', 'obb', 'cls'])
def test_a_step_predicts_what_prediction_does(task, tmp_path, monkeypatch):
    paths = [str(path) for path in write_images(tmp_path / 'images', 3)]
    model = init_detector(None, write_checkpoint(tmp_path / 'model.pth', task), 'cpu')
    predictor = Predictor(model=model, img_size=64, batch_size=2)
    expected = predictor.predict(paths)
    seen = []
    predict = predictor.model.predict  # a view of the model with options of its own
    monkeypatch.setattr(predictor.model, 'predict', lambda preds, samples: seen.extend(predict(preds, samples)))
    step = prediction_speed.PredictionMaker(predictor, ExecutionMode(), find_images(paths), 2)()
    seconds = step(0), step(1)
    assert np.shape(seconds) == (2, 4) and np.min(seconds) > 0
    for ours, theirs in zip(seen, [*expected, expected[0]], strict=True):
        for name in ('pred_instances', 'pred_scores'):
            if name in theirs:
                ours_value, theirs_value = getattr(ours, name), getattr(theirs, name)
                if name == 'pred_instances':
                    assert len(ours_value) == len(theirs_value)
                    ours_value, theirs_value = ours_value.scores, theirs_value.scores
                torch.testing.assert_close(ours_value, theirs_value, atol=1e-5, rtol=1e-4)


def test_batches_begin_again_where_images_run_out():
    assert prediction_speed.batches(['a', 'b', 'c'], 2) == [['a', 'b'], ['c', 'a']]
    assert prediction_speed.batches(['a'], 3) == [['a', 'a', 'a']]


def test_images_must_be_readable(tmp_path):
    write_images(tmp_path, 1)
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='broken.png.*leave it out'):
        prediction_speed.readable_images([str(tmp_path)])
    with pytest.raises(DataError, match='does not exist'):
        prediction_speed.readable_images([str(tmp_path / 'nowhere')])


def test_drawn_pictures_are_square(tmp_path):
    paths = prediction_speed.draw_images(tmp_path)
    assert len(paths) == 4
    assert {read_image(path).shape for path in paths} == {(640, 640, 3)}


def test_benchmark_of_two_batch_sizes(tmp_path):
    write_images(tmp_path, 2)
    said: list[str] = []
    found = benchmark_prediction(
        choose_variants([DET, DET]), small(batch_sizes=(2, 1), images=[str(tmp_path)]), said.append
    )
    assert said == ['timing batches of 1', 'timing batches of 2']
    for own in found.measurements:
        assert (own.parameters, own.img_size) == (3_157_184, 64) and own.flops == pytest.approx(8.74e9 / 100, rel=0.001)
        assert {size: taken.shape for size, taken in own.seconds.items()} == {1: (2, 1, 4), 2: (2, 1, 4)}


def test_networks_are_timed_for_comparisons(tmp_path):
    checkpoint = write_checkpoint(tmp_path / 'seg.pth')
    config = tmp_path / 'config.py'
    config.write_text('\n'.join(f'{key} = {value!r}' for key, value in make_config('seg').items()))
    found = time_networks([(config, checkpoint), (config, None)], device='cpu', img_size=32, rounds=2)
    assert len(found) == 2 and all(0 < own.low <= own.value <= own.high for own in found)


# ---- modes -----------------------------------------------------------------------------------------------------------


def tiny_model() -> tuple[torch.nn.Module, dict]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DETECTORS.build(make_config('seg')['model']).eval()
    return model, model.data_preprocessor({'inputs': torch.randint(256, (1, 3, 32, 64), dtype=torch.uint8)})


def test_copies_are_fresh_and_equal():
    model, data = tiny_model()
    make = network_maker(model, ExecutionMode())
    with torch.inference_mode():
        first, second, own = make()(data), make()(data), model(data['inputs'])
    torch.testing.assert_close(first, own)
    torch.testing.assert_close(second, own)


@pytest.mark.thorough
def test_another_runtime_is_timed_and_compared(tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    paths = [str(path) for path in write_images(tmp_path / 'images', 2)]
    checkpoint = str(write_checkpoint(tmp_path / 'model.pth', 'det'))
    modes = execution_modes(runtimes=['onnx'])
    settings = Settings(images=paths, img_size=64, rounds=2, device='cpu', memory=False, score_thr=0.015)
    found = benchmark_prediction([Variant(f'a {mode.name}', None, checkpoint, mode) for mode in modes], settings)
    plain, other = found.measurements
    assert plain.agreement is None and plain.parameters == other.parameters and plain.flops == other.flops
    assert other.agreement.total > 0 and other.agreement.scores < 1e-3
    assert other.seconds[1].shape == plain.seconds[1].shape
    assert 'without partner' in console_tables(found) and as_dict(found)['variants'][1]['agreement']['unmatched'] >= 0


def predictions(bboxes, scores, labels):
    instances = InstanceData(bboxes=torch.tensor(bboxes), scores=torch.tensor(scores), labels=torch.tensor(labels))
    return [DetDataSample(pred_instances=instances)]


def test_predictions_are_compared_with_those_of_their_class():
    expected = predictions([[0.0, 0, 10, 10], [1.0, 1, 11, 11], [50.0, 50, 60, 60]], [0.9, 0.8, 0.7], [0, 1, 0])
    found = predictions([[1.0, 1, 11, 11.5], [0.0, 0, 10, 10.25], [80.0, 50, 90, 60]], [0.8, 0.75, 0.7], [1, 0, 0])
    seen = agreement(found, expected)
    assert (seen.bboxes, seen.unmatched, seen.total) == (0.5, 2, 6) and seen.scores == pytest.approx(0.15)
    nothing = predictions(np.zeros((0, 4), np.float32), [], [])
    assert agreement(nothing, expected).unmatched == 3 and agreement(nothing, nothing).total == 0


@pytest.mark.slow
def test_compiled_gives_the_same_predictions():
    model, data = tiny_model()
    with torch.inference_mode():
        found = network_maker(model, ExecutionMode(compiled=True))()(data)
        torch.testing.assert_close(found, model(data['inputs']), atol=1e-3, rtol=1e-3)


class TinyNetwork(nn.Module):
    """A network of one layer in the place of a detector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        return self.conv(inputs)

    def head(self, feats: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        return {'feats': feats}

    def padding_mask(self, *data: object) -> None:
        return None


@pytest.fixture
def graphs(monkeypatch) -> CompileCounter:
    """Count the graphs that are compiled, which run as they are."""
    counter = CompileCounter()
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=counter))
    return counter


def test_more_networks_are_compiled_than_pytorch_compiles_of_one_code(graphs):
    number = torch._dynamo.config.recompile_limit + 2
    for channels in range(1, number + 1):
        network = network_maker(TinyNetwork(channels), ExecutionMode(compiled=True))()
        for _ in range(2):
            assert network({'inputs': torch.zeros(1, 3, 4, 4)})['feats'].shape == (1, channels, 4, 4)
        assert graphs.frame_count == channels


def test_more_shapes_than_pytorch_compiles_are_an_error(graphs):
    network = network_maker(TinyNetwork(2), ExecutionMode(compiled=True))()
    for side in range(4, 4 + torch._dynamo.config.recompile_limit):
        network({'inputs': torch.zeros(1, 3, side, side)})
    with pytest.raises(ConfigError, match='--compile: this network meets more shapes than'):
        network({'inputs': torch.zeros(1, 3, 99, 99)})


def test_a_compiled_network_takes_the_padding_mask(monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda function, **options: function)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DETECTORS.build(model_config('detr_r18', 4)).eval()
    gt = make_gt_batch([Annotations()], [(64, 32)])
    data = model.data_preprocessor({'inputs': torch.full((1, 3, 64, 64), 114, dtype=torch.uint8), 'gt': gt})
    with torch.inference_mode():
        found, own, unmasked = (
            network(data)['cls_logits']
            for network in (
                network_maker(model, ExecutionMode(compiled=True))(),
                lambda data: model(**data, mode='tensor'),
                lambda data: model(data['inputs'], mode='tensor'),
            )
        )
    torch.testing.assert_close(found, own)
    assert (own - unmasked).abs().max() > 1e-3


def test_what_is_missing_for_a_way_is_said(monkeypatch):
    monkeypatch.setattr('detkit.analysis.speed.execution_modes.resolve_amp', lambda amp, device: None)
    with pytest.raises(ConfigError, match='--amp: cpu has no fast number format'):
        ExecutionMode(amp=True).precision(torch.device('cpu'))
    assert ExecutionMode().precision(torch.device('cpu')) is not None


# ---- training --------------------------------------------------------------------------------------------------------


def test_a_training_step_changes_no_weight(tiny_data):
    options = [f'data_root={tiny_data}', 'img_size=64', 'num_workers=0', 'cache=none']
    config = load_config(DET, options)
    model = training_speed.training_model(DET, config)
    before = {name: param.clone() for name, param in model.named_parameters()}
    trained = []
    model.register_forward_hook(
        lambda module, inputs, output: trained.append({name: param for name, param in module.named_parameters()})
    )
    make = training_speed.training_maker(model, config, 4, torch.device('cpu'))
    step = make()
    seconds = [step(turn) for turn in range(3)]
    assert np.shape(seconds) == (3, 2) and np.min(seconds) > 0
    assert len(trained) == 3
    for name, param in trained[-1].items():
        assert param is not dict(model.named_parameters())[name]  # a copy's
        torch.testing.assert_close(param, before[name], atol=0, rtol=0)
    with pytest.raises(ConfigError, match='has no train_cfg'):
        training_speed.training_model('it', Config({**config.to_dict(), 'train_cfg': None}))


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_seen_in_a_process_of_its_own():
    before = process_peak()
    if before is None:
        pytest.skip('this system does not tell how much memory a process held')
    block = bytearray(64 << 20)
    assert process_peak() >= len(block) / 2**20
    assert PeakMemory(100.0, 60.0, None).own == 40.0 and PeakMemory(100.0, 60.0, 7.0).own == 7.0
    assert PeakMemory(None, None, None).own is None
    with pytest.raises(DetkitError, match='memory ran out'):
        in_fresh_process(exec, 'import os; os._exit(9)')


# ---- report ----------------------------------------------------------------------------------------------------------


def made_up() -> Benchmark:
    """Two variants, of which the second's network takes 1.5 times as long, and a third that is as fast as the first."""
    rng = np.random.default_rng(0)
    measured = []
    for label, factor in (('one', 1.0), ('two', 1.5), ('three', 1.0)):
        taken = np.stack(
            [
                np.full((10, 4), 0.002),
                np.full((10, 4), 0.001),
                0.01 * factor * np.exp(rng.normal(0, 0.01, (10, 4))),
                np.full((10, 4), 0.003),
            ],
            -1,
        )
        measured.append(
            Measurement(
                Variant(label, f'{label}.py'),
                1234,
                2 * 10**9,
                64,
                {1: taken, 8: 4 * taken},
                {1: PeakMemory(500.0, 400.0, None), 8: PeakMemory(None, None, None)},
            )
        )
    return Benchmark(prediction_speed.PHASES, 2, torch.device('cpu'), Settings(), measured)


def test_spread_counts_what_is_far_out():
    seconds = np.array([[0.010, 0.011, 0.012, 0.013], [0.010, 0.011, 0.012, 0.1]])
    found = spread_of(seconds)
    assert found['p50'] == pytest.approx(11.5) and found['far_out'] == 1 and found['count'] == 8
    assert found['p50'] < found['p90'] < found['p99'] < 100
    assert found['spread'] == pytest.approx(1.5 / 11.5)


def test_tables_say_who_is_slower():
    text = console_tables(made_up())
    table = text.split('network, batch ')[1].split('phases, batch')[0]
    rows = {line.split('|')[1].strip(): line for line in table.splitlines() if line.startswith('|')}
    assert rows['one'].split('|')[7].strip() == '1' and 'slower' in rows['two']
    assert 'no difference shown' in rows['three'] and ' 1.50' in rows['two']
    assert '100.' in rows['one'] or '99.' in rows['one']  # images/s
    assert '2.00' in text and '1,234' in text and '100 ' in text and 'With random weights' in text
    assert [verdict(Interval(1.0, low, high)) for low, high in ((0.9, 1.1), (1.01, 1.1), (0.8, 0.99))] == [
        'no difference shown',
        'slower',
        'faster',
    ]
    single = made_up()
    assert 'ratio' not in console_tables(replace(single, measurements=single.measurements[:1])).split('95%')[0]


def test_files_hold_the_figures(tmp_path):
    found = made_up()
    write_benchmark_json(found, tmp_path / 'b.json')
    write_benchmark_csv(found, tmp_path / 'b.csv')
    content = json.loads((tmp_path / 'b.json').read_text())
    assert content == json.loads(json.dumps(as_dict(found)))
    ratio = content['variants'][1]['batches']['8']['phases']['network']['ratio']
    assert ratio['value'] == pytest.approx(1.5, rel=0.01) and ratio['low'] < ratio['value'] < ratio['high'] < 1.52
    assert content['variants'][0]['batches']['1']['memory_mib']['own'] == 100
    rows = list(csv.DictReader(Path(tmp_path / 'b.csv').open()))
    assert [(row['label'], row['batch_size']) for row in rows[:3]] == [('one', '1'), ('one', '8'), ('two', '1')]
    assert float(rows[2]['network_ratio']) == pytest.approx(1.5, rel=0.02) and rows[1]['memory_mib'] == ''
