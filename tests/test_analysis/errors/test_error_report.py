"""Files about the types of errors, and the mistakes that all reports of an evaluation refuse."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from test_analysis.models import answers, model, with_pictures
from test_analysis.results import CLASSES, cells, evaluated, random_results, rotated, seen, with_keypoints

from detkit.analysis.errors.confusion import (
    write_confusion_matrix,
)
from detkit.analysis.errors.error_report import error_sheet, plot_delta_ap, write_errors
from detkit.analysis.errors.error_types import ERROR_TYPES, classify_errors, delta_ap
from detkit.analysis.errors.precision_recall import write_curves
from detkit.utils.errors import ConfigError, DataError


def with_masks(results):
    """Masks that fill boxes."""
    for result in results:
        for instances in (result.gt_instances, result.pred_instances):
            bboxes = np.clip(np.round(instances.bboxes), 0, 300)
            bitmaps = np.zeros((300, 300, len(bboxes)), np.uint8, order='F')
            for i, (x0, y0, x1, y1) in enumerate(bboxes.astype(int)):
                bitmaps[y0:y1, x0:x1, i] = 1
            instances.masks = coco_mask.encode(bitmaps) if len(bboxes) else []
    return results


@pytest.mark.parametrize('kind', ['bbox', 'segm', 'keypoints', 'rbbox'])
def test_errors_of_every_kind(kind, tmp_path):
    results = random_results(12, noise=12.0)
    results = {'bbox': list, 'segm': with_masks, 'keypoints': with_keypoints, 'rbbox': rotated}[kind](results)
    own = model('a', with_pictures(results, tmp_path), ('bbox', kind) if kind in ('segm', 'keypoints') else (kind,))
    text = write_errors(own, tmp_path / 'out', score_thr=0.4, examples=3)
    content = json.loads((tmp_path / 'out' / 'errors.json').read_text())
    errors = classify_errors(results, CLASSES, kind)
    delta = delta_ap(errors, 3, 0.4)
    assert content['kind'] == kind and content['numbers'] == delta.numbers and content['gains'] == delta.gains
    assert f'AP50 is {delta.ap50:.3f}' in text
    assert {row[0]: row[2] for row in cells(text)[1:7]} == {k: str(n) for k, n in delta.numbers.items()}
    seen(tmp_path / 'out' / 'errors.png')
    bars = [bar.get_width() for bar in plot_delta_ap(delta, 0.4).axes[0].patches]
    assert bars == [delta.gains[name] for name in ERROR_TYPES]
    sheets = {path.stem.partition('_')[2] for path in (tmp_path / 'out').glob('*.jpg')}
    assert sheets == {name for name, number in delta.numbers.items() if number} and len(sheets) >= 3
    without = ', '.join(name for name in ERROR_TYPES if name not in sheets)
    assert (f'no picture of {without}: no such error from a score of 0.4 on' in text) == bool(without)
    for name in sheets:
        seen(tmp_path / 'out' / f'errors_{name}.jpg')


def test_an_example_shows_object_and_prediction(tmp_path):
    results = with_pictures(random_results(1), tmp_path)
    result = evaluated(0, [[100, 100, 160, 160]], [0], [[100, 100, 160, 120]], [0], [0.9])
    result.set_metainfo(dict(img_path=results[0].img_path))
    own = model('a', [result])
    sheet = error_sheet(own, classify_errors([result], CLASSES), 'localisation', 5)
    left, right = sheet[-300:, :300].astype(int), sheet[-300:, 302:].astype(int)
    # The window is 1.8 times as wide as both: 108 pixels, 300 of the sheet; boxes start at 24 / 108 of it.
    changed = np.abs(left - right).sum(2) > 60
    assert changed[230:240, 100:200].any()  # the object's lower edge, (24 + 60) / 108
    assert changed[118:126, 100:200].any()  # the prediction's, (24 + 20) / 108
    assert error_sheet(own, classify_errors([result], CLASSES), 'missed', 5) is None


def test_sheets_are_those_of_the_last_analysis(tmp_path):
    bboxes = [[10, 10, 60, 60], [200, 200, 260, 260]]
    own = model('a', with_pictures([evaluated(0, bboxes[:1], [0], bboxes, [0, 0], [0.9, 0.8])], tmp_path))
    sheet, none = tmp_path / 'out' / 'errors_background.jpg', 'no such error from a score of'
    for score_thr, examples, there in ((0.25, 1, True), (0.95, 1, False), (0.25, 0, False)):
        text = write_errors(own, tmp_path / 'out', None, score_thr, examples)
        assert sheet.exists() == there
        assert ('background' in text.partition('no picture of')[2]) == (score_thr > 0.8) and none in text


def test_errors(tmp_path):
    own = model('mine', random_results(4), ('bbox', 'segm'))
    assert own.chosen_kind(None, '') == 'segm' and own.chosen_kind('bbox', '') == 'bbox'
    with pytest.raises(ConfigError, match="mine evaluates bbox, segm, not 'keypoints'"):
        write_confusion_matrix(own, tmp_path, 'keypoints')
    classifier = model('mine', answers([True] * 3), ('label',))
    with pytest.raises(ConfigError, match='mine is a classifier, which has no precision at a recall'):
        write_curves(classifier, tmp_path)
    with pytest.raises(ConfigError, match='no kinds of errors'):
        write_errors(classifier, tmp_path)
    without = model('mine', [result for result in random_results(4) if not len(result.gt_instances)])
    for write in (write_curves, write_errors):
        with pytest.raises(DataError, match='mine: the data hold no object'):
            write(without, tmp_path)
    assert not list(tmp_path.iterdir())
