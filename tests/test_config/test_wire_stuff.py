"""Which classes are stuff: known to the data, wired into the head."""

import pytest

from detkit.config import load_config
from detkit.utils.errors import ConfigError

CONFIG = 'configs/detr/panoptic_coco.py'


def test_labels_come_from_the_config_of_the_data(repo):
    head = load_config(repo / CONFIG).model.head
    assert head.num_classes == 250
    assert len(head.stuff_labels) == 53 and head.stuff_labels[0] == 92 and head.stuff_labels[-1] == 200


def test_labels_come_from_the_json(repo, tiny_data, tmp_path):
    path = tmp_path / 'mine.py'
    for extra, classes, labels in (('', 4, (2, 3)), (', keep_category_ids=True', 194, (187, 193))):
        path.write_text(f"""
_base_ = '{repo / CONFIG}'
dataset = dict(_delete_=True, type='CocoPanopticDataset', data_root={str(tiny_data / 'panoptic')!r},
               ann_file='annotations/panoptic_val2017.json', img_prefix='val2017'{extra})
train_dataloader = dict(dataset=dict(**dataset, pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(**dataset, test_mode=True, pipeline=_base_.val_pipeline))
test_dataloader = val_dataloader
""")
        head = load_config(path).model.head
        assert (head.num_classes, tuple(head.stuff_labels)) == (classes, labels)


def test_other_labels_are_refused(repo):
    with pytest.raises(ConfigError, match=r'model.head.stuff_labels is \(92,\), but .*leave stuff_labels out'):
        load_config(repo / CONFIG, ['+model.head.stuff_labels=(92,)'])


def test_instance_masks_have_none(repo):
    assert load_config(repo / 'configs/detr/seg_coco.py').model.head.get('stuff_labels') is None
