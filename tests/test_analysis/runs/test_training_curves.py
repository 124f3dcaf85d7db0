import json
from pathlib import Path

import numpy as np
import pytest

from detkit.analysis.runs.run_charts import _panels, plot_curves
from detkit.analysis.runs.run_logs import read_results
from detkit.utils.errors import DataError

CSV = """epoch, time,train/box,train/seg,metrics/coco/bbox_mAP,metrics/coco/bbox_mAP50,metrics/coco/bbox_mAP_s,lr/weight
1,3.0,2.5,4.0,,,,0.01
2,6.0,2.0,3.0,0.1,0.2,-1,0.008
2,6.1,1.9,2.9,0.15,0.25,-1,0.008
3,9.0,1.5,nan,,,,0.006
"""


def test_reads_csv(tmp_path: Path):
    (tmp_path / 'results.csv').write_text(CSV)
    curves = read_results(tmp_path / 'results.csv')
    assert curves['train/box'][0].tolist() == [1, 2, 3] and curves['train/box'][1].tolist() == [2.5, 1.9, 1.5]
    assert curves['train/seg'][0].tolist() == [1, 2]
    assert curves['metrics/coco/bbox_mAP50'][1].tolist() == [0.25]
    assert 'time' in curves and 'epoch' not in curves


def test_reads_json_lines(tmp_path: Path):
    rows = [{'step': 1, 'train/box': 2.0, 'note': 'x'}, {'step': 2, 'train/box': 1.0}, {'hello': 3}]
    (tmp_path / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    curves = read_results(tmp_path / 'scalars.json')
    assert {name: y.tolist() for name, (_, y) in curves.items()} == {'train/box': [2.0, 1.0]}


def test_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match='does not exist'):
        read_results(tmp_path / 'results.csv')


def test_plot(tmp_path: Path):
    (tmp_path / 'results.csv').write_text(CSV)
    state = np.random.get_state()[1].copy()
    # box, seg, box average precision, learning rate
    curves = read_results(tmp_path / 'results.csv')
    panels, axes = _panels(curves), plot_curves(curves).axes
    assert len(axes) == 4 and [one.get_title() for one in axes] == list(panels)
    for one, lines in zip(axes, panels.values(), strict=True):
        drawn = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in one.lines}
        assert drawn == {label: (x.tolist(), y.tolist()) for label, (x, y) in lines.items()}
    assert (np.random.get_state()[1] == state).all()


def test_unknown_columns_do_no_harm():
    assert plot_curves({'a': (np.arange(3), np.arange(3.0))}) is None
    many = {f'lr/group{i}': (np.arange(30), np.full(30, i / 100)) for i in range(9)}
    many['metrics/accuracy'] = np.arange(3), np.array([0.1, 0.2, 0.3])
    many['metrics/coco/bbox_mAP'] = np.arange(2), np.array([-1.0, -1.0])
    assert len(plot_curves(many).axes) == 2


def test_training_and_validation_of_a_classifier_share_panels(tmp_path: Path):
    (tmp_path / 'results.csv').write_text(
        'epoch,train/cls,train/top1,lr/weight,metrics/accuracy/top1,metrics/accuracy/cross_entropy\n'
        '1,1.4,.3,.1,.4,1.5\n2,1.1,.5,.1,.6,1.2\n'
    )
    panels = _panels(read_results(tmp_path / 'results.csv'))
    assert {title: {label: y.tolist() for label, (_, y) in lines.items()} for title, lines in panels.items()} == {
        'cls loss': {'train': [1.4, 1.1], 'val': [1.5, 1.2]},
        'accuracy': {'train top1': [0.3, 0.5], 'val top1': [0.4, 0.6]},
        'learning rate': {'weight': [0.1, 0.1]},
    }


def test_accuracies_share_a_panel(tmp_path: Path):
    (tmp_path / 'results.csv').write_text(
        'epoch,train/cls,metrics/accuracy/top1,metrics/accuracy/top5\n1,1.4,.3,.9\n2,1.1,.5,1\n'
    )
    assert len(plot_curves(read_results(tmp_path / 'results.csv')).axes) == 2
    (tmp_path / 'scalars.json').write_text('{"iter": 3, "accuracy/top1": 0.5, "accuracy/top5": 1.0}\n')
    assert len(plot_curves(read_results(tmp_path / 'scalars.json')).axes) == 1


def test_average_precisions_of_dota_share_a_panel():
    x = np.arange(3.0)
    names = ('mAP', 'mAP50', 'mAP75', 'mAP50-voc07')
    curves = {f'metrics/dota/{name}': (x, x / 3) for name in names} | {'train/angle': (x, x)}
    assert len(plot_curves(curves).axes) == 2
    assert len(plot_curves({f'dota/{name}': (x, x / 3) for name in names}).axes) == 1


def test_epochs_are_whole_numbers_on_the_axis_also_of_a_single_validation():
    figure = plot_curves({'metrics/coco/bbox_mAP': (np.array([5.0]), np.array([0.2]))})
    assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())
