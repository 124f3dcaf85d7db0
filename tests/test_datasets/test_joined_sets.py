"""Several datasets as one: classes by name, how often each is drawn, and batches that depend on nothing else."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from builders import RecordSet
from format_helpers import write_image, write_yolo
from test_loader import keep

from detkit.config import load_config
from detkit.datasets import (
    BackgroundDataset,
    ClassBalancedSampler,
    ConcatDataset,
    EpochSampler,
    ImageFolderDataset,
    RepeatDataset,
    RepeatFactorSampler,
    SampleKey,
    YoloTxtDataset,
    build_dataloader,
)
from detkit.datasets.class_map import peek_dataset
from detkit.datasets.pipeline_dataset import SwitchableDataset
from detkit.datasets.wrappers import find_record, leaf_datasets, records_of
from detkit.engine.evaluate import EvaluationSettings, evaluation_config
from detkit.engine.hooks.close_transforms_hook import CloseTransformsHook
from detkit.utils.errors import ConfigError, DataError

BASE = Path('configs/yolov8/det_n_coco8.py').resolve()
PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Mosaic', 'size': 32},
    {'type': 'RandomAffine', 'size': 32},
    {'type': 'Render'},
    {'type': 'PackInputs'},
]


def yolo(root, objects, classes, size_wh=(20, 10), **options):
    """Config of a dataset whose images show the objects of these labels."""
    lines = [[f'{label} 0.5 0.5 0.{k + 3} 0.5' for k, label in enumerate(own)] for own in objects]
    write_yolo(root, {f'{i:02d}': '\n'.join(own) for i, own in enumerate(lines)}, size_wh=size_wh)
    return dict(
        type='YoloTxtDataset', data_root=str(root), images='images/train', metainfo=dict(classes=classes), **options
    )


@pytest.fixture
def street(tmp_path):
    return yolo(tmp_path / 'street', [[0, 1], [2], [1], [0, 2, 2], []], ('person', 'car', 'truck'))


@pytest.fixture
def yard(tmp_path):
    return yolo(tmp_path / 'yard', [[0], [1], [2]], ('van', 'dog', 'person'))


@pytest.fixture
def empty(tmp_path):
    for i in range(4):
        write_image(tmp_path / 'empty' / f'{i}.png', 20, 10)
    return dict(type='BackgroundDataset', data_root=str(tmp_path), images='empty')


def names_of(dataset):
    """Return the names of each sample's objects, read from the record and from the sample itself."""
    classes = dataset.metainfo['classes']
    return [[classes[label] for label in find_record(dataset, i).annotations.labels] for i in range(len(dataset))]


def test_images_of_background_in_folders_and_lists(empty, tmp_path):
    (tmp_path / 'list.txt').write_text('empty/0.png\nempty/3.png\n')
    write_image(tmp_path / 'more' / 'x.png', 8, 6)
    own = {'data_root': str(tmp_path), 'metainfo': {'classes': ('cat',)}}
    dataset = BackgroundDataset(['list.txt', 'more'], **own)
    assert [Path(record.img_path).name for record in dataset.records] == ['0.png', '3.png', 'x.png']
    assert [len(record.annotations) for record in dataset.records] == [0, 0, 0]
    with pytest.raises(ConfigError, match='images of BackgroundDataset is empty'):
        BackgroundDataset([], **own)
    with pytest.raises(DataError, match=r'nowhere.*Correct images \(relative to data_root='):
        BackgroundDataset('nowhere', **own)


def test_classes_are_joined_by_name(street, yard):
    joined = ConcatDataset([street, yard])
    assert joined.metainfo['classes'] == ('person', 'car', 'truck', 'van', 'dog')
    assert names_of(joined)[:2] == [['person', 'car'], ['truck']]
    assert names_of(joined)[5:] == [['van'], ['dog'], ['person']]
    assert all(leaf.metainfo['classes'] == joined.metainfo['classes'] for leaf in leaf_datasets(joined))
    cfg = dict(type='ConcatDataset', datasets=[street, yard])
    assert peek_dataset(cfg)['classes'] == joined.metainfo['classes']
    chosen = ('dog', 'van', 'truck', 'car', 'person')
    ordered = ConcatDataset([street, yard], classes=chosen)
    assert ordered.metainfo['classes'] == chosen and names_of(ordered) == names_of(joined)
    assert peek_dataset({**cfg, 'classes': chosen})['classes'] == chosen
    # The parts themselves are left as they were, and wrappers inside take part.
    inner = YoloTxtDataset(**{key: value for key, value in yard.items() if key != 'type'})
    nested = RepeatDataset(ConcatDataset([street, RepeatDataset(inner, 2), inner]), 2)
    assert names_of(nested) == 2 * (names_of(joined) + 2 * names_of(joined)[5:])
    assert inner.metainfo['classes'] == ('van', 'dog', 'person') and len(records_of(nested)) == 11


def test_a_class_map_renames_merges_and_leaves_out(street, yard):
    street['class_map'] = dict(truck='vehicle', car='vehicle')
    yard['class_map'] = dict(van='vehicle', dog=None)
    cfg = dict(type='ConcatDataset', datasets=[street, yard])
    joined = ConcatDataset(cfg['datasets'])
    assert joined.metainfo['classes'] == ('person', 'vehicle') == peek_dataset(cfg)['classes']
    expected = [['person', 'vehicle'], ['vehicle'], ['vehicle'], ['person', 'vehicle', 'vehicle'], []]
    assert names_of(joined) == [*expected, ['vehicle'], [], ['person']]
    skip = next(skip for skip in joined.unused if 'class_map' in skip.reason)
    assert (skip.where, skip.count) == ("class 'dog'", 1)
    yard['class_map'] = {'person': 'person', '*': None}
    assert YoloTxtDataset(**{k: v for k, v in yard.items() if k != 'type'}).metainfo['classes'] == ('person',)


@pytest.mark.parametrize('merge', [dict(class_map=dict(truck='car', person=None)), dict(single_class=True)])
def test_objects_that_merged_classes_make_the_same_are_one(tmp_path, merge):
    cfg = yolo(tmp_path, [[1], [1], [], [1]], ('person', 'car', 'truck'), **merge)
    del cfg['type']
    square, flat, other = '0.1 0.1 0.9 0.1 0.9 0.9', '0.1 0.1 0.9 0.9 0.1 0.9', '0.5 0.5 0.2 0.2'
    for name, lines in (
        ('00', (f'2 {square}', f'1 {square}', f'1 {flat}', f'2 {other}')),
        ('01', (f'1 {other}',)),
        ('03', (f'1 {other}', f'2 {other}')),
    ):
        (tmp_path / 'labels/train' / f'{name}.txt').write_text('\n'.join(lines))
    dataset = YoloTxtDataset(**cfg)
    assert [len(record.annotations) for record in dataset.records] == [3, 1, 0, 1]
    first, second = dataset.records[0].annotations.polygons.points.reshape(2, 3, 2).tolist()
    assert first[1] == [18, 1] and second[1] == [18, 9]
    assert len(dataset.records[3].annotations.polygons.points) == 0
    (key,) = merge
    skip = next(skip for skip in dataset.unused if f'once {key} merges' in skip.reason)
    assert skip.count == 2 and skip.path.endswith('00.png')


def test_unknown_names_are_errors_with_the_nearest(street, yard):
    with pytest.raises(ConfigError, match=r"'truck' of dataset 0 is none of .*'trucks'.*class_map"):
        ConcatDataset([street], classes=('person', 'cars', 'trucks', 'car'))
    yard['class_map'] = dict(vann='car')
    with pytest.raises(ConfigError, match="class_map of .* has the name 'vann'.*Did you mean 'van'"):
        ConcatDataset([street, yard])
    yard['class_map'] = {'*': None}
    with pytest.raises(ConfigError, match='leaves none of its classes'):
        ConcatDataset([street, yard])
    with pytest.raises(ConfigError, match='no effect with single_class'):
        ConcatDataset([{**yard, 'single_class': True}])


def test_classes_of_whole_images(tmp_path):
    for folder, classes in (('one', ('cat', 'dog')), ('two', ('hound', 'owl', 'ant'))):
        for name in classes:
            write_image(tmp_path / folder / name / '0.png', 20, 10)
    options = dict(type='ImageFolderDataset', data_root=str(tmp_path))
    two = dict(options, folder='two', class_map=dict(hound='dog', ant=None))
    joined = ConcatDataset([dict(options, folder='one'), two])
    assert joined.metainfo['classes'] == ('cat', 'dog', 'owl')
    labels = {find_record(joined, i).img_id: find_record(joined, i).class_label for i in range(len(joined))}
    assert labels == {'cat/0.png': 0, 'dog/0.png': 1, 'hound/0.png': 1, 'owl/0.png': 2}
    assert isinstance(joined.parts[1], ImageFolderDataset) and joined.unused[0].count == 1


def test_kinds_of_objects_must_agree(tmp_path, street, empty):
    turned = yolo(tmp_path / 'turned', [], ('person',), labels='obb')
    write_yolo(tmp_path / 'turned', {'a': '0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5'})
    with pytest.raises(ConfigError, match='those of dataset 0 are boxes, those of dataset 2 rotated boxes'):
        ConcatDataset([street, empty, turned])
    assert len(ConcatDataset([empty, turned])) == 5

    def posed(name, **metainfo):
        root = write_yolo(tmp_path / name, {'a': '0 0.5 0.5 0.5 0.5 0.5 0.5 2 0.4 0.4 2'})
        options = dict(type='YoloTxtDataset', data_root=str(root), images='images/train', labels='pose')
        return dict(options, keypoint_shape=(2, 3), metainfo=dict(classes=('person',), **metainfo))

    first, second = posed('one', keypoint_names=('left_a', 'right_a')), posed('two', keypoint_names=('left_b', 'x'))
    joined = ConcatDataset([first, empty, posed('three', keypoint_names=['left_a', 'right_a'])])
    assert joined.metainfo['flip_pairs'] == ((0, 1),) and joined.metainfo['classes'] == ('person',)
    assert peek_dataset(dict(type='ConcatDataset', datasets=[empty, first]))['keypoint_shape'] == (2, 3)
    with pytest.raises(ConfigError, match='differ in their keypoints'):
        ConcatDataset([first, second])
    with pytest.raises(ConfigError, match='boxes with 2 keypoints, those of dataset 1 boxes'):
        ConcatDataset([first, street])


def drawn(dataset, epochs=1, **options):
    sampler = EpochSampler(dataset, batch_size=4, **options)
    return [sampler.epoch_order(epoch) for epoch in range(epochs)]


def test_weights_draw_parts_as_often_as_they_say(street, yard, empty):
    joined = ConcatDataset([street, yard, empty], weights=[2, 1 / 3, 1])
    orders = drawn(joined, 30)
    assert {len(order) for order in orders} == {15}
    counts = [np.bincount(order, minlength=len(joined)) for order in orders]
    assert all((own[:5] == 2).all() and own[5:8].sum() == 1 and (own[8:] == 1).all() for own in counts)
    assert (np.sum(counts, 0)[5:8] > 3).all()  # a new draw in each epoch
    assert drawn(joined, 1, shuffle=False)[0].tolist() == list(range(len(joined)))  # evaluation reads each once
    # The same wrapped again; and weights of 1 change nothing at all.
    assert [len(order) for order in drawn(RepeatDataset(joined, 2), 2)] == [30, 30]
    plain, ones = ConcatDataset([street, yard]), ConcatDataset([street, yard], weights=[1, 1.0])
    assert (drawn(plain)[0] == drawn(ones)[0]).all()


def test_a_share_of_background(street, yard, empty):
    joined = ConcatDataset([street, yard, empty], background=0.2)
    counts = np.sum([np.bincount(order, minlength=12) for order in drawn(joined, 10)], 0)
    assert counts.tolist()[:8] == [10] * 8 and counts[8:].sum() == 20 and (counts[8:] > 0).all()
    half = ConcatDataset([street, yard, empty], weights=[4, 1, 1], background=0.5)
    counts = np.bincount(drawn(half)[0], minlength=12)
    assert counts[:5].tolist() == [4] * 5 and counts[8:].sum() == 23
    assert (half.parts[2].records[0].img_id, half.parts[2].metainfo['classes']) == (
        'empty/0.png',
        joined.metainfo['classes'],
    )
    for parts, share in (([street, yard], 0.1), ([empty], 0.1), ([street, empty], 1.0)):
        with pytest.raises(ConfigError, match=f'background={share}'):
            ConcatDataset(parts, background=share)
    for weights in ([1], [1, 0], [1, float('nan')]):
        with pytest.raises(ConfigError, match='must be 2 numbers above 0'):
            ConcatDataset([street, yard], weights=weights)
    with pytest.raises(ConfigError, match='leave no image'):
        EpochSampler(ConcatDataset([street], weights=[0.1]))


def rare(tmp_path, count=400):
    """The class 1 in 4 of 400 images, the class 2 in 100, and 40 without any."""
    labels = [[0] + [1] * (i < 4) + [2] * (i % 4 == 0) if i % 10 != 9 else [] for i in range(count)]
    return YoloTxtDataset(**{k: v for k, v in yolo(tmp_path, labels, ('a', 'b', 'c')).items() if k != 'type'})


def test_repeat_factors_are_those_of_the_paper(tmp_path):
    data = rare(tmp_path)
    shares = {label: np.mean([label in record.annotations.labels for record in data.records]) for label in range(3)}
    threshold = 0.3
    r = {label: max(1, (threshold / share) ** 0.5) for label, share in shares.items()}
    expected = [max([r[label] for label in record.annotations.labels], default=1) for record in data.records]
    sampler = RepeatFactorSampler(data, threshold=threshold, batch_size=8)
    assert np.allclose(sampler.repeat_factors(), expected) and r[1] == pytest.approx(30**0.5) and r[0] == 1
    assert sampler.epoch_size == int(sum(expected))
    counts = np.stack([np.bincount(sampler.epoch_order(epoch), minlength=400) for epoch in range(200)])
    assert (counts >= np.floor(expected)).all() and (counts <= np.ceil(expected)).all()
    assert (counts.sum(1) == sampler.epoch_size).all() and (counts[0] != counts[1]).any()
    assert np.abs(counts.mean(0) - expected).max() < 0.15
    assert RepeatFactorSampler(data, threshold=1e-6).epoch_size == 400  # no class is that rare


def test_a_balanced_epoch_draws_classes_equally_often(tmp_path):
    labels = [[0]] * 30 + [[1]] * 6 + [[2]] * 3 + [[]] * 11
    data = RepeatDataset(yolo(tmp_path, labels, ('a', 'b', 'c', 'never')), 2)
    sampler = ClassBalancedSampler(data, batch_size=8, seed=3)
    assert sampler.epoch_size == 100
    of_index = np.array([(own or [3])[0] for own in labels] * 2)
    counts = np.stack([np.bincount(of_index[sampler.epoch_order(epoch)]) for epoch in range(50)])
    assert (counts.sum(1) == 100).all() and (counts[:, 3] == 22).all()
    assert np.abs(counts[:, :3] - 26).max() <= 5 and np.abs(counts.mean(0)[:3] - 26).max() < 1
    with pytest.raises(ConfigError, match='set shuffle=True'):
        ClassBalancedSampler(data, shuffle=False)
    with pytest.raises(ConfigError, match='threshold=0 of RepeatFactorSampler'):
        RepeatFactorSampler(data, threshold=0)


def test_classes_are_counted_with_the_weights_of_their_parts(street, yard):
    joined = ConcatDataset([street, yard], weights=[1, 3])
    sampler = ClassBalancedSampler(joined)
    images, labels = joined.image_classes()
    drawn_per_class = np.bincount(labels, sampler.repeat_factors()[images])
    assert len(set(images[labels == 0])) == 3
    assert np.allclose(sampler.repeat_factors().sum(), 5 + 9) and drawn_per_class.min() > 13 / 5 - 1e-6


@pytest.fixture
def mixed(street, yard, empty):
    parts = [dict(part, pipeline=PIPELINE, mix_group_size=2) for part in (street, yard, empty)]
    return dict(type='ConcatDataset', datasets=parts, weights=[1.5, 1.0, 1.0], background=0.3)


def batches_of(dataset, sampler, epochs=(1,), skip=0, **options):
    loader = build_dataloader(dict(dataset=dataset, sampler=dict(type=sampler), batch_size=4, **options), seed=7)
    for epoch in epochs:
        loader.batch_sampler.set_epoch(epoch)
        if epoch == epochs[-1]:
            loader.batch_sampler.skip(skip)
        found = list(loader)
    return found


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('sampler', ['EpochSampler', 'RepeatFactorSampler', 'ClassBalancedSampler'])
def test_batches_depend_on_seed_and_epoch_alone(mixed, sampler):
    expected = batches_of(mixed, sampler)
    assert any(batch['gt'].num_instances for batch in expected) and len(expected) >= 3
    variants = [
        (0, batches_of(mixed, sampler, (0, 1), num_workers=1)),
        (0, batches_of(mixed, sampler, num_workers=3, persistent_workers=False, prefetch_factor=1)),
        (2, batches_of(mixed, sampler, (0, 1), skip=2, num_workers=2)),  # resumed in the midst of the epoch
    ]
    for start, found in variants:
        for one, other in zip(expected[start:], found, strict=True):
            assert torch.equal(one['inputs'], other['inputs']) and torch.equal(one['gt'].labels, other['gt'].labels)
            assert torch.equal(one['gt'].bboxes, other['gt'].bboxes)
            paths = [[sample.img_path for sample in batch['data_samples']] for batch in (one, other)]
            assert paths[0] == paths[1]


@pytest.mark.parametrize('kind', [EpochSampler, RepeatFactorSampler, ClassBalancedSampler])
def test_an_epoch_is_the_same_for_any_number_of_processes(mixed, kind):
    joined = ConcatDataset(**{key: value for key, value in mixed.items() if key != 'type'})
    whole = {key.position: key for batch in _epoch(kind(joined, batch_size=1, seed=2)) for key in batch}
    assert len(whole) == kind(joined).epoch_size
    for world_size in (2, 3):
        samplers = [kind(joined, batch_size=2, seed=2, rank=rank, world_size=world_size) for rank in range(world_size)]
        seen = {key.position: key for sampler in samplers for batch in _epoch(sampler) for key in batch}
        assert {position: seen[position] for position in whole} == whole
        assert len({len(sampler) for sampler in samplers}) == 1


def _epoch(sampler):
    sampler.set_epoch(4)
    return list(sampler)


def test_samples_are_in_the_order_of_their_keys(mixed):
    loader = build_dataloader(dict(dataset=mixed, batch_size=4, collate_fn=keep), seed=1)
    for keys, samples in zip(loader.batch_sampler, loader, strict=True):
        assert [sample['meta']['img_path'] for sample in samples] == [
            find_record(loader.dataset, key.index).img_path for key in keys
        ]


def test_what_hooks_and_tables_read_passes_through(mixed):
    whole = RepeatDataset(mixed, 2)
    leaves = list(leaf_datasets(whole))
    assert len(leaves) == 3 and all(isinstance(leaf, SwitchableDataset) and leaf.mixing_transforms for leaf in leaves)
    CloseTransformsHook(num_epochs=2).close(whole, max_epochs=10)
    for leaf in leaves:
        assert leaf.active_epochs == dict.fromkeys(leaf.mixing_transforms, (0, 8))
    assert isinstance(leaves[2], BackgroundDataset) and whole.max_skipped == 0.01
    assert len(whole.unused) == sum(len(leaf.unused) for leaf in leaves) and whole.skipped == []
    with pytest.raises(ConfigError, match='mix_group_size=2.*batch_size=3'):
        build_dataloader(dict(dataset=mixed, batch_size=3), seed=0)


def test_rectangular_batches_of_joined_sets(tmp_path):
    pipeline = [PIPELINE[0], dict(type='LetterBox', size=64), *PIPELINE[3:]]
    wide, tall = (
        yolo(tmp_path / name, [[0]] * 3, ('a',), size, rect=True, pipeline=pipeline)
        for name, size in (('wide', (40, 10)), ('tall', (10, 40)))
    )
    joined = ConcatDataset([wide, tall])
    assert joined.order.tolist() == list(range(6))
    loader = dict(dataset=joined, batch_size=3, sampler=dict(type='EpochSampler', shuffle=False))
    batches = list(build_dataloader(loader, 0))
    assert [tuple(batch['inputs'].shape[2:]) for batch in batches] == [(32, 96), (96, 32)]
    with pytest.raises(ValueError, match='shuffle=False'):
        EpochSampler(joined)


def test_a_head_is_wired_to_the_classes_of_the_whole(tmp_path, street, yard):
    path = tmp_path / 'mine.py'
    street['class_map'] = dict(truck='car')

    def load(**options):
        parts = [dict(part, pipeline=PIPELINE) for part in (street, yard)]
        dataset = dict(_delete_=True, type='ConcatDataset', datasets=parts, **options)
        path.write_text(
            f"_base_ = '{BASE}'\ntrain_pipeline = {PIPELINE!r}\ntrain_dataloader = dict(dataset={dataset!r})\n"
            'val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None\n'
        )
        return load_config(path)

    assert load().model.head.num_classes == 4
    assert load(classes=['dog', 'person', 'van', 'car', 'bus']).model.head.num_classes == 5
    with pytest.raises(
        ConfigError, match=r"mine.py:3: train_dataloader.dataset: the class 'van' of .*Did you mean 'vans'"
    ):
        load(classes=['dog', 'person', 'vans', 'car'])
    street['class_map'] = dict(truk='car')
    with pytest.raises(ConfigError, match=r"mine.py:3: train_dataloader.dataset.*'truk'.*Did you mean 'truck'"):
        load()


def test_a_dataset_without_records_cannot_be_balanced():
    class Plain(RecordSet):
        def __init__(self):
            super().__init__([], ('a',))
            del self.records

    with pytest.raises(ConfigError, match='the images of Plain show: it has no records'):
        RepeatFactorSampler(Plain())


def test_a_mosaic_mixes_images_of_all_parts(tmp_path, mixed):
    """Each part has its own grey, which tells where the pixels of a sample are from."""
    caches = (None, 'ram', None)
    parts = [dict(part, mix_group_size=None, cache=own) for part, own in zip(mixed['datasets'], caches, strict=True)]
    joined = ConcatDataset(parts)
    for value, leaf in zip((20, 200, 240), leaf_datasets(joined), strict=True):
        for record in leaf.records:
            cv2.imwrite(record.img_path, np.full((10, 20, 3), value, np.uint8))
        for path, img in (leaf.cached_images or {}).items():
            leaf.cached_images[path] = np.full_like(img, value)
    kept = len(joined.parts[1].cached_images)
    mixes = 0
    for epoch in range(5):
        keys = [SampleKey(0, epoch, position, index) for position, index in enumerate((0, 5, 6, 9))]
        alone = RepeatDataset(joined.parts[0], 2).__getitems__(keys[:1])[0]
        assert torch.equal(alone['inputs'], joined.parts[0].__getitems__(keys[:1])[0]['inputs'])
        for sample in joined.__getitems__(keys):
            mixes += len(np.intersect1d(sample['inputs'].unique().numpy(), (20, 200, 240))) > 1
    assert mixes > 10 and len(joined.parts[1].cached_images) == kept
    for leaf in leaf_datasets(joined):
        leaf.active_epochs = dict.fromkeys(leaf.mixing_transforms, (0, 5))
    for sample in joined.__getitems__([key._replace(epoch=5) for key in keys]):
        assert len(np.intersect1d(sample['inputs'].unique().numpy(), (20, 200, 240))) <= 1


def test_a_joined_training_set_can_be_tested_on(mixed):
    cfg = load_config(BASE)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=mixed)
    tested = evaluation_config(cfg, '', EvaluationSettings(split='train')).test_dataloader.dataset
    assert tested.type == 'ConcatDataset' and 'weights' not in tested and 'background' not in tested
    for part in tested.datasets:
        assert part.test_mode and part.rect and part.pipeline[1].type == 'LetterBox' and 'mix_group_size' not in part
