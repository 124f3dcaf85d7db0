"""The class names of converted files: one rule for all families."""

import pytest

from detkit.converters.found_classes import find_classes
from detkit.converters.hub_config import hub_classes
from detkit.datasets.class_names import COCO80, COCO91, COCO_ALIASES
from detkit.utils.errors import CheckpointError

DARKNET = tuple({ours: theirs for theirs, ours in COCO_ALIASES.items()}.get(name, name) for name in COCO80)
OTHER = tuple(f'class {number}' for number in range(80))


@pytest.mark.parametrize(
    ('count', 'coco', 'stated', 'expected', 'by'),
    [
        (80, COCO80, None, COCO80, 'COCO'),
        (80, COCO80, COCO80, COCO80, 'COCO'),
        (80, COCO80, DARKNET, COCO80, 'COCO'),
        (91, COCO91, COCO80, COCO91, 'COCO'),  # without the ids that COCO skips
        (91, COCO91, [name.replace('N/A', 'street sign') for name in COCO91], COCO91, 'COCO'),
        (80, COCO80, OTHER, OTHER, 'the file'),
        (80, COCO80, COCO80[::-1], COCO80[::-1], 'the file'),  # the same names, but of other labels
        (2, COCO80, ('bolt', 'nut'), ('bolt', 'nut'), 'the file'),
        (0, COCO80, (), (), 'the file'),
    ],
)
def test_stated_names_are_taken_unless_they_are_those_of_coco(tmp_path, count, coco, stated, expected, by):
    assert find_classes(tmp_path, count, coco, None, stated, 'the file') == (tuple(expected), by)


def test_names_that_are_given_come_first(tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('bolt\n\n nut \n')
    assert find_classes(tmp_path, 2, COCO80, names, ('a', 'b'), 'the file') == (('bolt', 'nut'), str(names))


def test_one_spare_logit_is_an_unused_class(tmp_path):
    own = ('bolt', 'nut')
    assert find_classes(tmp_path, 3, COCO91, None, own, 'the file', spare_logit=True) == ((*own, 'N/A'), 'the file')
    assert find_classes(tmp_path, 2, COCO91, None, own, 'the file', spare_logit=True) == (own, 'the file')
    for count, spare in ((4, True), (3, False)):
        with pytest.raises(CheckpointError, match=f'has {count} classes, but the file names 2'):
            find_classes(tmp_path, count, COCO91, None, own, 'the file', spare_logit=spare)


@pytest.mark.parametrize('stated', [None, COCO80])
def test_names_that_nothing_says_are_asked_for(tmp_path, stated):
    with pytest.raises(CheckpointError, match='has 3 classes without names, and COCO 80; give the names with --names'):
        find_classes(tmp_path / 'model.pth', 3, COCO80, None, stated, 'the file')


@pytest.mark.parametrize('names', [{'0': None}, {'0': 3}, {'0': ['a']}, ['a'], {'1': 'a'}, 'ab', 5])
def test_names_of_a_config_json_are_texts_by_label(tmp_path, names):
    with pytest.raises(CheckpointError, match=r'config\.json is damaged'):
        hub_classes({'id2label': names}, tmp_path / 'model.safetensors')


def test_a_config_json_without_names_says_none(tmp_path):
    for names in ({}, None, {'0': 'LABEL_0', '1': 'LABEL_1'}):
        assert hub_classes({'id2label': names}, tmp_path / 'model.safetensors') is None
    assert hub_classes({'id2label': {'0': 'ä'}}, tmp_path / 'model.safetensors') == ('ä',)
