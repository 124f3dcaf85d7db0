"""``DetDataset``: mixed images, groups, caches, unreadable images, rectangular batches; workers change nothing."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from scene_helpers import ListDataset, annotations_of, write_shapes
from torch.utils.data import DataLoader

from detkit.datasets.collate import collate
from detkit.datasets.sample_key import SampleKey, as_sample_key
from detkit.datasets.transforms.mixing import MixTransform
from detkit.structures import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.errors import DataError, DetkitError

TRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='Mosaic', size=64),
    dict(type='CopyPaste', prob=0.5),
    dict(type='RandomAffine', size=64, degrees=10),
    dict(type='MixUp', prob=0.5),
    dict(type='RandomFlip'),
    dict(type='Render', with_masks=True),
    dict(type='RandomHSV'),
    dict(type='PackInputs'),
]
VAL = [dict(type='LoadImageFromFile'), dict(type='LetterBox', size=64), dict(type='Render'), dict(type='PackInputs')]


@pytest.fixture
def records(tmp_path):
    return write_shapes(tmp_path)


def keys_of(positions, epoch=0, seed=7, size=6):
    return [SampleKey(seed, epoch, position, (position * 5 + 1) % size) for position in positions]


def same(first, second):
    tensors = [
        (first['inputs'], second['inputs']),
        *(
            (first['gt'].__dict__[k], second['gt'].__dict__[k])
            for k in ('labels', 'bboxes', 'valid', 'flat_index', 'masks')
        ),
    ]
    return all(torch.equal(a, b) for a, b in tensors)


def test_an_index_is_a_key():
    assert as_sample_key(5) == SampleKey(0, 0, 5, 5)
    key = SampleKey(1, 2, 3, 4)
    assert as_sample_key(key) is key


def test_no_annotations_at_all(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 50, 3), np.uint8))
    dataset = ListDataset([Record(str(tmp_path / 'a.png'), 0, (40, 50), Annotations())], pipeline=TRAIN)
    batch = collate(dataset.__getitems__([0]))
    assert batch['inputs'].shape == (1, 3, 64, 64) and batch['gt'].labels.shape == (1, 0)


@pytest.mark.parametrize('mix_from', ['group', 'dataset'])
@pytest.mark.parametrize('cache', [None, 'ram'])
def test_batches_depend_on_their_keys_alone(records, mix_from, cache):
    """Any number of workers, any earlier batches, any batch around the group, cached or not: the same samples."""
    dataset = ListDataset(records, pipeline=TRAIN, mix_from=mix_from, mix_group_size=2)
    keys = keys_of(range(6))
    whole = collate(dataset.__getitems__(keys))
    other = ListDataset(records, pipeline=TRAIN, mix_from=mix_from, mix_group_size=2, cache=cache)
    collate(other.__getitems__(keys_of(range(4), epoch=3)))
    assert same(collate(other.__getitems__(keys)), whole)
    parts = [sample for first in (4, 0, 2) for sample in other.__getitems__(keys[first : first + 2])]
    assert same(collate([*parts[2:], *parts[:2]]), whole)
    changed = collate(other.__getitems__([key._replace(epoch=1) for key in keys]))
    assert not torch.equal(changed['inputs'], whole['inputs'])


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
@pytest.mark.parametrize('num_workers', [1, 3])
def test_workers_change_nothing(records, num_workers):
    dataset = ListDataset(records, pipeline=TRAIN)
    batches = [keys_of(range(first, first + 2)) for first in (0, 2, 4)]
    alone = [collate(dataset.__getitems__(keys)) for keys in batches]
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=collate, num_workers=num_workers)
    for batch, expected in zip(loader, alone, strict=True):
        assert same(batch, expected)


def test_no_global_generator_is_touched(records):
    dataset = ListDataset(records, pipeline=TRAIN)
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    dataset.__getitems__(keys_of(range(6)))
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])


def test_a_repeated_image_is_augmented_anew(records):
    dataset = ListDataset(records[:1], pipeline=TRAIN)
    first, second = dataset.__getitems__([SampleKey(0, 0, 0, 0), SampleKey(0, 0, 1, 0)])
    assert not torch.equal(first['inputs'], second['inputs'])


def test_a_group_is_decoded_once(records, monkeypatch):
    from detkit.datasets.transforms import loading

    decoded = []
    monkeypatch.setattr(
        loading, 'read_image', lambda path, *limit, read=loading.read_image: decoded.append(path) or read(path, *limit)
    )
    dataset = ListDataset(records, pipeline=TRAIN)
    dataset.__getitems__(keys_of(range(4)))
    assert sorted(decoded) == sorted({records[key.index].img_path for key in keys_of(range(4))})


class Spy(MixTransform):
    """Note the other samples that it is given, and leave its own as it is."""

    num_mix_images = 20

    def __init__(self):
        self.seen = []

    def draw(self, sample):
        return ()

    def mix(self, sample, others, drawn):
        assert all(isinstance(other, Sample) for other in others)
        self.seen.append(others)
        return sample


def test_mixed_images_come_from_the_group(records):
    spy = Spy()
    pipeline = [dict(type='LoadImageFromFile'), spy]
    dataset = ListDataset(records, pipeline=pipeline, mix_group_size=3)
    dataset.__getitems__([SampleKey(0, 0, p, p) for p in range(6)])
    found = [{other.record.img_id for other in others} for others in spy.seen]
    assert found == [{0, 1, 2}] * 3 + [{3, 4, 5}] * 3 and all(len(others) == 20 for others in spy.seen)
    spy.seen.clear()
    dataset[4]
    assert {other.record.img_id for other in spy.seen[0]} == {3, 4, 5}
    spy.seen.clear()
    ListDataset(records, pipeline=pipeline, mix_from='dataset').__getitems__([SampleKey(0, 0, 0, 0)])
    assert len({other.record.img_id for other in spy.seen[0]}) > 3


def test_mixed_images_have_gone_through_the_transforms_before(records):
    spy = Spy()
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LetterBox', size=32), spy]
    ListDataset(records, pipeline=pipeline).__getitems__(keys_of(range(2)))
    assert [other.scene.size for others in spy.seen for other in others] == [(32, 32)] * 40


def test_a_choice_mixes_the_images_before_it(records):
    spy = Spy()
    choice = dict(type='RandomChoice', transforms=[[dict(type='LetterBox', size=48), spy]])
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LetterBox', size=32), choice]
    ListDataset(records, pipeline=pipeline).__getitems__(keys_of(range(1)))
    assert [other.scene.size for other in spy.seen[0]] == [(32, 32)] * 20


def truncate(path):
    with open(path, 'rb+') as file:
        file.truncate(len(file.read()) // 2)


def test_training_replaces_an_unreadable_image(records):
    truncate(records[1].img_path)
    dataset = ListDataset(records, pipeline=VAL)
    keys = [SampleKey(0, 0, p, p) for p in range(3)]
    batch = collate(dataset.__getitems__(keys))
    assert [sample.img_id for sample in batch['data_samples']] == [0, 2, 2]
    ((path, where, reason, *_),) = batch['skipped']
    assert path == records[1].img_path and where is None and 'truncated' in reason


def test_an_unreadable_partner_is_replaced(records):
    truncate(records[1].img_path)
    dataset = ListDataset(records, pipeline=TRAIN)
    keys = [SampleKey(0, 0, p, p) for p in range(6)]
    batch = collate(dataset.__getitems__(keys))
    assert batch['inputs'].shape == (6, 3, 64, 64) and len(batch['skipped']) == 1


def test_testing_marks_an_unreadable_image(records):
    truncate(records[1].img_path)
    dataset = ListDataset(records, pipeline=VAL, test_mode=True)
    batch = collate(dataset.__getitems__(range(3)))
    samples = batch['data_samples']
    assert [sample.img_id for sample in samples] == [0, 1, 2]
    assert ['skipped' in sample for sample in samples] == [False, True, False]
    assert len(samples[1].gt_instances.labels) == 0 and len(samples[0].gt_instances.labels) == 3
    assert len(batch['skipped']) == 1


def test_nothing_readable_is_an_error(records):
    for record in records:
        truncate(record.img_path)
    with pytest.raises(DataError, match='none of the 2 images of a group can be read'):
        ListDataset(records, pipeline=VAL).__getitems__([0, 1])


def test_ram_cache_needs_no_files_afterwards(records, tmp_path):
    dataset = ListDataset(records, pipeline=VAL, cache='ram')
    for record in records:
        shutil.move(record.img_path, record.img_path + '.away')
    assert collate(dataset.__getitems__([0, 1]))['skipped'] == []


def test_ram_cache_records_unreadable_images(records):
    truncate(records[0].img_path)
    dataset = ListDataset(records, pipeline=VAL, cache='ram')
    assert [skip[0] for skip in dataset.skipped] == [records[0].img_path]
    truncate(records[1].img_path)
    with pytest.raises(DataError, match='max_skipped'):
        ListDataset(records, pipeline=VAL, cache='ram')


def test_two_images_of_one_id_are_refused(records):
    twice = [Record(record.img_path, 'same', record.ori_shape, record.annotations) for record in records[:2]]
    with pytest.raises(DataError, match=f"{records[0].img_path}.*{records[1].img_path}.* have one id, 'same'"):
        ListDataset(twice)
    with pytest.raises(DataError, match='list no image twice'):
        ListDataset([records[0], records[0]])


def test_rectangular_batches(tmp_path):
    shapes = [(64, 32), (32, 64), (40, 64), (64, 64), (30, 60), (64, 48)]
    records = []
    for i, (height, width) in enumerate(shapes):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.zeros((height, width, 3), np.uint8))
        records.append(Record(str(tmp_path / f'{i}.png'), i, (height, width), Annotations()))
    dataset = ListDataset(records, pipeline=VAL, rect=True, pad=0.0, size_divisor=8)
    assert dataset.order.tolist() == [1, 4, 2, 3, 5, 0]
    batches = [collate(dataset.__getitems__(dataset.order[first : first + 2])) for first in (0, 2, 4)]
    sizes = [tuple(batch['inputs'].shape[2:]) for batch in batches]
    assert sizes == [(32, 64), (64, 64), (64, 48)]
    assert dataset.batch_frame([1, 4]).shape((100, 100)) == (56, 104)
    without = [Record(record.img_path, record.img_id, None, Annotations()) for record in records]
    with pytest.raises(DataError, match='rect=True'):
        ListDataset(without, pipeline=VAL, rect=True)


def test_fraction_and_single_class(records):
    dataset = ListDataset(records, fraction=0.5, single_class=True)
    assert len(dataset) == 3 and dataset.metainfo['classes'] == ('object',)
    assert not any(record.annotations.labels.any() for record in dataset.records)
    assert records[0].annotations.labels.tolist() == [0, 1, 2]
    assert len(ListDataset(records, fraction=0.01)) == 1


@pytest.mark.parametrize(
    'options, match',
    [
        (dict(data_root='/no/such/place'), 'does not exist.*data_root'),
        (dict(cache='disk'), "cache='disk' is not one of None, 'ram'"),
        (dict(mix_from='all'), 'mix_from'),
        (dict(fraction=0), 'fraction=0'),
        (dict(mix_group_size=0), 'mix_group_size=0'),
        (dict(metainfo={}), 'names no classes'),
    ],
)
def test_mistakes_are_named(records, options, match):
    with pytest.raises(DetkitError, match=match):
        ListDataset(records, **options)


def test_no_image_is_an_error():
    with pytest.raises(DataError, match='has no image'):
        ListDataset([])


def test_plain_indices_run_over_the_end(records):
    dataset = ListDataset(records, pipeline=VAL)
    assert dataset[-1]['meta']['img_id'] == 5
    with pytest.raises(IndexError):
        dataset[6]


def test_ground_truth_of_the_original_image(records):
    given = annotations_of([[[0, 0], [9, 0], [9, 9]]], [1], ignored=np.array([True]))
    record = Record(records[0].img_path, 0, records[0].ori_shape, given)
    batch = collate(ListDataset([record], pipeline=VAL, test_mode=True).__getitems__([0]))
    (sample,) = batch['data_samples']
    assert sample.gt_instances.bboxes.tolist() == [[0, 0, 9, 9]] and sample.gt_instances.ignored.tolist() == [True]
    assert sample.gt_instances.masks == [[[0, 0, 9, 0, 9, 9]]]
    assert sample.img_shape == (64, 64) and sample.ori_shape == records[0].ori_shape
    assert batch['gt'].num_instances == 0  # ignored objects are for metrics alone
