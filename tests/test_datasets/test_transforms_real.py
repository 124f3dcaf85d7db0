"""The training pipeline on real photographs."""

import numpy as np
import pytest

from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.datasets.class_names import COCO80
from detkit.datasets.collate import collate
from detkit.datasets.sample_key import SampleKey


def pipeline(**affine):
    return [
        dict(type='LoadImageFromFile'),
        dict(type='Mosaic', size=320),
        dict(type='CopyPaste', prob=0.3),
        dict(type='RandomAffine', size=320, **affine),
        dict(type='MixUp', prob=0.2),
        dict(type='RandomFlip'),
        dict(type='Render', with_masks=True, overlap_mask=False, mask_stride=2),
        dict(type='RandomHSV'),
        dict(type='PackInputs'),
    ]


def check(batch):
    """Each box surrounds its mask, closely."""
    gt, checked = batch['gt'], 0
    for image, number in np.argwhere(gt.valid.numpy()):
        mask, (x0, y0, x1, y1) = gt.masks[image, number].numpy(), gt.bboxes[image, number].tolist()
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 320
        if min(x1 - x0, y1 - y0) < 12:
            continue
        rows, columns = np.flatnonzero(mask.any(1)) * 2, np.flatnonzero(mask.any(0)) * 2
        found = [columns[0], rows[0], columns[-1] + 2, rows[-1] + 2]
        # Tips of outlines thinner than the masks' pixels are in the box alone, seldom by much.
        np.testing.assert_array_less(np.subtract([x0, y0], found[:2]), 2.1)
        np.testing.assert_array_less(np.subtract(found[2:], [x1, y1]), 2.1)
        checked += np.abs(np.subtract(found, [x0, y0, x1, y1])).max() <= 3
    return checked, int(gt.valid.sum())


@pytest.mark.realdata
@pytest.mark.parametrize('affine', [{}, dict(degrees=20, shear=5, perspective=0.0003)], ids=['plain', 'turned'])
def test_boxes_surround_masks_in_mosaics_of_coco8(real_data, affine):
    dataset = YoloTxtDataset(
        images='images/train',
        data_root=str(real_data / 'coco8-seg'),
        metainfo=dict(classes=COCO80),
        mix_from='dataset',
        cache='ram',
        pipeline=pipeline(**affine),
    )
    close, count = check(collate(dataset.__getitems__([SampleKey(1, 0, p, p % 4) for p in range(8)])))
    assert count > 20 and close > 0.75 * count


@pytest.mark.realdata
def test_boxes_surround_masks_in_mosaics_of_coco128(real_data):
    dataset = CocoDataset(
        ann_file='annotations/instances_train2017.json',
        img_prefix='train2017',
        data_root=str(real_data / 'coco128'),
        pipeline=pipeline(),
    )
    close, count = check(collate(dataset.__getitems__([SampleKey(1, 0, p, p * 7) for p in range(16)])))
    assert count > 60 and close > 0.5 * count
