"""Planted label mistakes are found by a model that sees the truth."""

import numpy as np
import pytest
from test_analysis.models import answers, model, with_pictures
from test_analysis.results import evaluated, rotated

from detkit.analysis.data.disagreement_report import add_disagreements, disagreement_lines, disagreement_rows
from detkit.analysis.data.label_disagreements import DISAGREEMENT_KINDS, find_disagreements, split_checkpoints
from detkit.analysis.html_page import HtmlPage
from detkit.utils.errors import ConfigError

TRUTH = np.array([[20, 20, 80, 80], [120, 20, 180, 90], [40, 150, 120, 220], [200, 180, 260, 260]], float)
LABELS = np.array([0, 1, 2, 0])


def sample(image, gt_bboxes=TRUTH, gt_labels=LABELS, **changes):
    """The labels as given, and a model's predictions of the truth, within a pixel or two."""
    rng = np.random.default_rng(image)
    predictions = dict(bboxes=TRUTH + rng.uniform(-1.5, 1.5, TRUTH.shape), labels=LABELS, scores=[0.9] * len(LABELS))
    return evaluated(image, gt_bboxes=gt_bboxes, gt_labels=gt_labels, **{**predictions, **changes})


def found(*samples, **settings):
    own = find_disagreements(model('mine', samples, **settings), 'val')
    return own, [(one.kind, one.image, one.object) for one in own.found]


def shifted(number, pixels=35):
    """The labels, one of them at a wrong place."""
    bboxes = TRUTH.copy()
    bboxes[number, [0, 2]] += pixels
    return bboxes


def test_planted_mistakes():
    right = [sample(image) for image in range(10)]
    removed = sample(10, np.delete(TRUTH, 1, 0), np.delete(LABELS, 1))
    swapped = sample(11, TRUTH, [0, 1, 1, 0])
    moved = sample(12, shifted(3))
    own, kinds = found(*right, removed, swapped, moved)
    assert sorted(kinds, key=lambda one: one[1]) == [
        ('overlooked', 10, None),
        ('swapped', 11, 2),
        ('badly placed', 12, 3),
    ]
    by_kind = {one.kind: one for one in own.found}
    assert (by_kind['overlooked'].given, by_kind['overlooked'].suggested) == (None, 1)
    assert (by_kind['swapped'].given, by_kind['swapped'].suggested) == (1, 2)
    assert by_kind['swapped'].prediction == 2 and by_kind['badly placed'].prediction == 3
    assert [one.score for one in own.found] == sorted((one.score for one in own.found), reverse=True)
    assert 0.5 < own.found[-1].score and own.found[0].score < 1
    scores = own.image_scores()
    assert np.flatnonzero(scores).tolist() == [10, 11, 12] and scores[11] == pytest.approx(by_kind['swapped'].score)
    assert found(*right)[1] == []


def test_thresholds_are_lower_quartiles_of_what_is_found():
    samples = [sample(image, scores=[0.3 + image / 100, 0.1, 0.9, 0.3 + image / 100]) for image in range(9)]
    samples[0].pred_instances.labels[2] = 1  # eight birds are found
    own, _ = found(*samples)
    assert own.thresholds == pytest.approx([0.32, 0.25, 0.5])  # never below 0.25, nor above 0.5
    # Four dogs and birds say too little, so that they have the quartile of all classes.
    few, _ = found(*(sample(image, scores=[0.3 + image / 100, 0.4, 0.4, 0.3 + image / 100]) for image in range(4)))
    assert few.thresholds == pytest.approx([0.3075, 0.3175, 0.3175])
    own, _ = found(sample(0, [], []))
    assert np.isinf(own.thresholds).all() and own.found == []
    assert 'agrees with no label' in next(disagreement_lines(own))


def test_a_prediction_that_is_not_confident_says_nothing():
    right = [sample(image) for image in range(10)]
    removed = np.delete(TRUTH, 1, 0), np.delete(LABELS, 1)
    unsure = np.array([0.9, 0.4, 0.9, 0.9])
    assert found(*right, sample(10, *removed, scores=unsure))[1] == []
    assert found(*right, sample(10, TRUTH, [0, 2, 2, 0], scores=unsure))[1] == []


def test_ignored_objects_are_no_mistakes():
    right = [sample(image) for image in range(10)]
    crowd = sample(10)
    crowd.gt_instances.labels = np.array([0, 0, 2, 0])
    crowd.gt_instances.ignored = np.array([False, True, False, False])
    assert found(*right, crowd)[1] == []


def test_several_opinions_about_one_spot_count_once():
    """Of predictions of two classes in one place the surer one is overlooked; one on a labelled object is none."""
    right = [sample(image) for image in range(10)]
    doubled = sample(
        10,
        TRUTH[:1],
        LABELS[:1],
        bboxes=[*TRUTH[:1], TRUTH[1], TRUTH[1] + 2, TRUTH[0] + [0, 0, 0, 20]],
        labels=[0, 1, 2, 0],
        scores=[0.95, 0.92, 0.94, 0.93],
    )
    own, kinds = found(*right, doubled)
    assert kinds == [('overlooked', 10, None)] and own.found[0].suggested == 2


def test_no_objects_and_no_predictions():
    empty = sample(1, [], [], bboxes=[], labels=[], scores=[])
    own, kinds = found(sample(0), empty, sample(2, [], []))
    assert {kind for kind, *_ in kinds} == {'overlooked'} and {image for _, image, _ in kinds} == {2}


def test_rotated_boxes_are_compared_as_they_are_turned():
    right = [sample(image) for image in range(10)]
    swapped = sample(10, TRUTH, [0, 1, 1, 0])
    own, kinds = found(*rotated([*right, swapped]), kinds=('rbbox',))
    assert kinds == [('swapped', 10, 2)]


def classified(wrong=(4,), count=30):
    """Images of three classes in turn; some are labelled as the next class, and the model knows better."""
    results = answers([True] * count)
    for image in wrong:
        results[image].gt_label = (results[image].gt_label + 1) % 3
    return model('mine', results, ('label',))


def test_classifier_by_confident_joint():
    own = find_disagreements(classified((4, 8)), 'val')
    assert [(one.kind, one.image, one.given, one.suggested) for one in own.found] == [
        ('swapped', 4, 2, 1),
        ('swapped', 8, 0, 2),
    ]
    assert own.joint.sum() == 30 and own.joint[2, 1] == 1 and own.joint[0, 2] == 1
    assert np.flatnonzero(own.image_scores()).tolist() == [4, 8]
    assert find_disagreements(classified(()), 'val').found == []


def test_a_class_is_suggested_from_its_own_threshold():
    """The first equation of confident learning, by hand: class 1 gets low scores everywhere, so that 0.4 is much."""
    scores = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.65, 0.35]]
    own = find_disagreements(by_scores(scores, [0, 0, 0, 1, 1]), 'val')
    assert own.thresholds == pytest.approx([(0.9 + 0.8 + 0.6) / 3, 0.325])
    # The third reaches class 1's threshold alone; the fourth reaches none.
    (one,) = own.found
    assert (one.image, one.given, one.suggested, one.score) == (2, 0, 1, pytest.approx(0.4))
    assert own.joint == pytest.approx(np.array([[2, 1], [0, 2]]))


def by_scores(scores, labels):
    results = answers([True] * len(labels))
    for result, own, label in zip(results, scores, labels, strict=True):
        result.pred_scores, result.gt_label = np.array(own), label
    return model('mine', results, ('label',), classes=('cat', 'dog'))


def test_page_and_rows(tmp_path):
    samples = [sample(image) for image in range(10)]
    samples += [sample(10, np.delete(TRUTH, 1, 0), np.delete(LABELS, 1)), sample(11, TRUTH, [0, 1, 1, 0])]
    samples.append(sample(12, shifted(3)))
    own = find_disagreements(model('mine', with_pictures(samples, tmp_path)), 'train')
    page = HtmlPage('Data')
    add_disagreements(page, own, 12)
    page.save(tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert text.count('data:image/jpeg') == 3 and all(f'{kind}: 1' in text for kind in DISAGREEMENT_KINDS)
    assert 'labelled dog; bird 0.' in text
    rows = list(disagreement_rows(own))
    assert {row[4]: row[2:4] for row in rows} == {
        'overlooked': [None, 'dog'],
        'swapped': [2, 'dog / bird'],
        'badly placed': [3, 'cat'],
    }
    assert all(0 < row[6] <= row[7] < 1 for row in rows)
    lines = list(disagreement_lines(own))
    assert len(lines) == 5 and lines[-1].startswith('train: a model that was trained on the same images')


def test_page_of_a_classifier(tmp_path):
    own = classified((4, 8), 12)
    with_pictures(own.results, tmp_path)
    page = HtmlPage('Data')
    add_disagreements(page, find_disagreements(own, 'val'), 12)
    page.save(tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert text.count('data:image/jpeg') == 2 and 'The confident joint estimates 2 of 12 labels to be wrong' in text
    assert 'labelled bird; dog 0.90' in text


def test_checkpoints_of_splits():
    both = ['train', 'val']
    assert split_checkpoints([], both) == {}
    assert split_checkpoints(['best.pth'], both) == {'train': 'best.pth', 'val': 'best.pth'}
    assert split_checkpoints(['a.pth', 'val=b.pth'], both) == {'train': 'a.pth', 'val': 'b.pth'}
    assert split_checkpoints(['val=b.pth'], both) == {'val': 'b.pth'}
    assert split_checkpoints(['lr=1/a.pth'], ['val']) == {'val': 'lr=1/a.pth'}
    for given, message in (
        (['a.pth', 'b.pth'], 'train=a.pth'),
        (['val=a', 'val=b'], 'val has a already'),
        (['test=a'], 'add test to --split'),
    ):
        with pytest.raises(ConfigError, match=message):
            split_checkpoints(given, both)
