"""``collate`` pads images, objects and masks into one batch."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from detkit.datasets.collate import collate
from detkit.registry import FUNCTIONS
from detkit.structures import Annotations


def sample(height, width, count, value=7, **options):
    annotations = Annotations(
        np.arange(count), np.tile(np.array([0, 0, 4, 4], np.float32), (count, 1)), **options.pop('fields', {})
    )
    img = np.full((height, width, 3), value, np.uint8)
    meta = dict(img_path='', img_id=0, ori_shape=(height, width), img_shape=(height, width), matrix=np.eye(3))
    return {'inputs': torch.from_numpy(img).permute(2, 0, 1), 'annotations': annotations, 'meta': meta, **options}


def test_no_objects_in_any_image():
    batch = collate([sample(8, 8, 0), sample(8, 8, 0)])
    gt = batch['gt']
    assert gt.labels.shape == (2, 0) and gt.bboxes.shape == (2, 0, 4) and gt.flat_index.shape == (0,)
    assert gt.max_instances == 0 and gt.num_instances == 0 and gt.batch_size == 2
    assert gt.masks is None and gt.keypoints is None and gt.rbboxes is None
    assert batch['skipped'] == []


def test_objects_are_padded():
    gt = collate([sample(8, 8, 1), sample(8, 8, 0), sample(8, 8, 3)])['gt']
    assert gt.labels.tolist() == [[0, -1, -1], [-1, -1, -1], [0, 1, 2]]
    assert gt.labels.dtype == torch.int64 and gt.bboxes.dtype == torch.float32
    assert gt.valid.tolist() == [[True, False, False], [False] * 3, [True] * 3]
    assert gt.flat_index.tolist() == [0, 6, 7, 8]
    assert gt.bboxes[0].tolist() == [[0, 0, 4, 4], [0] * 4, [0] * 4]


@pytest.mark.parametrize('counts', [(1, 0, 2), (0, 0, 0)])
def test_more_padding_is_that_of_a_larger_batch(counts):
    def made(count):
        keypoints = np.ones((count, 3, 3), np.float32)
        rings = np.array([[0, 0, 4, 4, 0.1]] * count, np.float32).reshape(-1, 5)
        fields = dict(keypoints=keypoints, rbboxes=rings, values={'own': np.arange(count) + 1})
        return sample(8, 8, count, fields=fields, masks=np.ones((count, 2, 2), bool))

    padded = collate([made(count) for count in counts])['gt'].padded_to(3)
    expected = collate([made(count) for count in (*counts, 3)])['gt'].select(slice(0, 3))
    assert padded.values.keys() == expected.values.keys() == {'own'}
    pairs = {field.name: [getattr(gt, field.name) for gt in (padded, expected)] for field in fields(expected)}
    pairs['values'] = [gt.values['own'] for gt in (padded, expected)]
    for name, (found, given) in pairs.items():
        assert (found is None) == (given is None), name
        assert found is None or (torch.equal(found, given) and found.dtype == given.dtype), name
    assert padded.padded_to(3) is padded


def test_images_of_different_sizes():
    batch = collate([sample(6, 10, 0, 1), sample(8, 4, 0, 2)], pad_value=50, size_divisor=4)
    inputs = batch['inputs']
    assert inputs.shape == (2, 3, 8, 12) and inputs.dtype == torch.uint8
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert (inputs[0, :, :6, :10] == 1).all() and (inputs[1, :, :, :4] == 2).all()
    assert (inputs[0, :, 6:] == 50).all() and (inputs[0, :, :, 10:] == 50).all() and (inputs[1, :, :, 4:] == 50).all()
    assert batch['gt'].img_shapes.tolist() == [[6, 10], [8, 4]]


def test_index_maps():
    small, large = np.full((2, 2), 3, np.uint8), np.full((3, 2), 300, np.int16)
    masks = collate([sample(8, 8, 0, masks=small), sample(12, 8, 0, masks=large)])['gt'].masks
    assert masks.dtype == torch.int16 and masks.shape == (2, 3, 2)
    assert masks[0].tolist() == [[3, 3], [3, 3], [0, 0]] and (masks[1] == 300).all()
    assert collate([sample(8, 8, 0, masks=small)])['gt'].masks.dtype == torch.uint8


def test_separate_masks():
    none, two = np.zeros((0, 2, 2), bool), np.ones((2, 2, 2), bool)
    masks = collate([sample(8, 8, 0, masks=none), sample(8, 8, 2, masks=two)])['gt'].masks
    assert masks.dtype == torch.bool and masks.shape == (2, 2, 2, 2)
    assert not masks[0].any() and masks[1].all()


def test_optional_fields_that_some_images_lack():
    keypoints = np.ones((2, 5, 3), np.float32)
    gt = collate([sample(8, 8, 0), sample(8, 8, 2, fields={'keypoints': keypoints})])['gt']
    assert gt.keypoints.shape == (2, 2, 5, 3) and gt.keypoints[0].sum() == 0 and (gt.keypoints[1] == 1).all()


def test_segmentations_of_ground_truth():
    raw = Annotations(
        np.zeros(2, np.int64), np.array([[0, 0, 2, 3], [1, 1, 2, 2]], np.float32), rles=[None, {'size': [8, 8]}]
    )
    batch = collate([sample(8, 8, 0, gt_raw=raw)])
    instances = batch['data_samples'][0].gt_instances
    assert instances.masks == [[[0, 0, 2, 0, 2, 3, 0, 3]], {'size': [8, 8]}]
    assert instances.areas.tolist() == [6, 1]
    boxes_only = Annotations(np.zeros(1, np.int64), np.array([[0, 0, 2, 3]], np.float32))
    assert 'masks' not in collate([sample(8, 8, 0, gt_raw=boxes_only)])['data_samples'][0].gt_instances


def test_skipped_images_are_handed_on():
    skip = ('a.jpg', None, 'is empty')
    assert collate([sample(8, 8, 0, skipped=[skip]), sample(8, 8, 0)])['skipped'] == [skip]


def test_batch_moves_and_is_registered():
    gt = collate([sample(8, 8, 2)])['gt'].to('cpu')
    assert gt.labels.tolist() == [[0, 1]] and gt.masks is None
    assert FUNCTIONS.get('collate') is collate


@pytest.mark.gpu
def test_batch_pins():
    gt = collate([sample(8, 8, 2)])['gt'].pin_memory()
    assert gt.bboxes.is_pinned()
