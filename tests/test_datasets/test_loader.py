"""Batches: the same for any number of workers, and entered midway without reading what is skipped."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from format_helpers import write_yolo

from detkit.config import load_config
from detkit.datasets import SampleKey, build_dataloader, loader
from detkit.datasets.loader import number_of_workers
from detkit.utils.errors import ConfigError

LABELS = {f'{i:02d}': '' if i == 3 else f'{i % 2} 0.5 0.5 0.{i + 2} 0.4\n1 0.1 0.1 0.6 0.1 0.6 0.7' for i in range(7)}


class Keys(torch.utils.data.Dataset):
    """Samples that tell which keys were asked for, where, and with how many threads."""

    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitems__(self, keys):
        worker = torch.utils.data.get_worker_info()
        threads = (torch.get_num_threads(), cv2.getNumThreads())
        return [(key, len(keys), None if worker is None else worker.id, threads) for key in keys]


def keep(samples):
    return samples


def loader_of(dataset, seed=0, **options):
    return build_dataloader({'dataset': dataset, 'collate_fn': keep, **options}, seed)


@pytest.fixture
def yolo(tmp_path):
    root = str(write_yolo(tmp_path, LABELS, size_wh=(60, 40)))
    return {
        'type': 'YoloTxtDataset',
        'data_root': root,
        'images': 'images/train',
        'metainfo': {'classes': ('a', 'b')},
        'pipeline': [
            {'type': 'LoadImageFromFile'},
            {'type': 'Mosaic', 'size': 32},
            {'type': 'RandomAffine', 'size': 32},
            {'type': 'Render', 'with_masks': True},
            {'type': 'RandomHSV'},
            {'type': 'PackInputs'},
        ],
    }


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_worker_makes_whole_batches(num_workers):
    loader = loader_of(Keys(), batch_size=4, num_workers=num_workers, seed=5)
    loader.batch_sampler.set_epoch(3)
    batches = list(loader)
    assert [sizes for batch in batches for _, sizes, _, _ in batch] == [4] * 8 + [2] * 2
    keys = [key for batch in batches for key, *_ in batch]
    assert all(isinstance(key, SampleKey) and key[:2] == (5, 3) for key in keys)
    assert [key.position for key in keys] == list(range(10))


def test_workers_keep_to_one_thread_and_the_main_process_keeps_its_own():
    before = torch.get_num_threads(), cv2.getNumThreads()
    batches = list(loader_of(Keys(), batch_size=4, num_workers=2))
    assert {worker for batch in batches for _, _, worker, _ in batch} == {0, 1}
    assert all(threads[0] == 1 and threads[1] <= 1 for batch in batches for *_, threads in batch)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_memory_is_given_back_before_each_fork_and_not_between(monkeypatch):
    calls = []
    monkeypatch.setattr(loader, 'trim_memory', lambda: calls.append(len(calls)))
    batches = loader_of(Keys(), num_workers=1)
    list(batches)
    list(batches)
    assert calls == [0]
    batches.close()
    list(batches)
    list(loader_of(Keys()))
    assert calls == [0, 1]


def test_iterating_leaves_the_global_generator_alone():
    for num_workers in (0, 1):
        loader = loader_of(Keys(), num_workers=num_workers)
        state = torch.get_rng_state()
        list(loader)
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_skipped_batches_are_not_read(num_workers):
    loader = loader_of(Keys(), batch_size=3, num_workers=num_workers)
    whole = [[sample[0] for sample in batch] for batch in loader]
    loader.batch_sampler.skip(2)
    assert [[sample[0] for sample in batch] for batch in loader] == whole[2:]
    assert [[sample[0] for sample in batch] for batch in loader] == whole


def test_batches_do_not_depend_on_workers_prefetching_or_epoch_history(yolo):
    def batches(epochs, **options):
        loader = build_dataloader({'dataset': yolo, 'batch_size': 2, **options}, seed=1)
        found = []
        for epoch in epochs:
            loader.batch_sampler.set_epoch(epoch)
            found = list(loader)
        return found

    expected = batches([1])
    assert len(expected) == 4 and any(batch['gt'].num_instances for batch in expected)
    variants = [
        batches([0, 1]),
        batches([0, 1], num_workers=1),
        batches([1], num_workers=3, persistent_workers=False, prefetch_factor=1),
    ]
    for found in variants:
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one['inputs'], other['inputs']) and torch.equal(one['gt'].bboxes, other['gt'].bboxes)
            assert torch.equal(one['gt'].masks, other['gt'].masks) and torch.equal(one['gt'].labels, other['gt'].labels)
    assert not torch.equal(batches([2])[0]['inputs'], expected[0]['inputs'])


def test_sampler_options_reach_the_sampler(yolo):
    loader = build_dataloader(
        {'dataset': yolo, 'batch_size': 2, 'drop_last': True, 'sampler': {'type': 'EpochSampler', 'shuffle': False}}, 7
    )
    sampler = loader.batch_sampler
    assert (sampler.shuffle, sampler.drop_last, sampler.seed, sampler.batch_size) == (False, True, 7, 2)
    assert len(loader) == 3 and loader.pin_memory is False


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'dataset': None}, "'dataset'"),
        ({'num_worker': 1}, "num_worker.*Did you mean 'num_workers'"),
        ({'collate_fn': {'type': 'colate'}}, 'colate'),
    ],
)
def test_mistakes(change, message):
    with pytest.raises((ConfigError, KeyError), match=message):
        build_dataloader({'dataset': Keys(), **change}, 0)


def test_mosaic_groups_must_fit_batches(yolo):
    with pytest.raises(ConfigError, match='mix_group_size=4.*batch_size=6'):
        build_dataloader(
            {
                'dataset': {'type': 'RepeatDataset', 'times': 2, 'dataset': {**yolo, 'mix_group_size': 4}},
                'batch_size': 6,
            },
            0,
        )


def test_collate_options(yolo):
    config = {'dataset': yolo, 'batch_size': 2, 'collate_fn': {'type': 'collate', 'size_divisor': 64}}
    assert next(iter(build_dataloader(config, 0)))['inputs'].shape[2:] == (64, 64)


def drawn(yolo, render, epoch=1, **options):
    built = build_dataloader(
        {'dataset': {**yolo, 'cache': 'ram'}, 'batch_size': 4, 'render_on': render, **options}, seed=1
    )
    built.batch_sampler.set_epoch(epoch)
    return built


@pytest.mark.parametrize('num_workers', [0, 1])
def test_batches_drawn_on_the_device_are_those_of_workers_to_a_grey_level(yolo, num_workers):
    yolo['pipeline'][2:2] = [{'type': 'CopyPaste', 'prob': 1.0}, {'type': 'RandomFlip'}]
    yolo['pipeline'].insert(5, {'type': 'MixUp', 'prob': 0.5})
    expected = list(drawn(yolo, 'workers'))
    found = list(drawn(yolo, 'device', num_workers=num_workers))
    assert len(found) == len(expected) == 2
    for one, other in zip(expected, found, strict=True):
        assert one['inputs'].shape == other['inputs'].shape and other['inputs'].dtype == torch.uint8
        assert other['inputs'].is_contiguous(memory_format=torch.channels_last)
        # Positions are rounded to 1/32 of a pixel by OpenCV before 5.
        most = 1 if int(cv2.__version__.split('.')[0]) >= 5 else 8
        # A grey level of saturation or hue is more than one of a colour.
        assert (one['inputs'].int() - other['inputs'].int()).abs().max() <= 4 * most
        assert (one['inputs'].int() - other['inputs'].int()).abs().float().mean() < 0.3
        assert torch.equal(one['gt'].bboxes, other['gt'].bboxes) and torch.equal(one['gt'].masks, other['gt'].masks)
        metas = [sample.metainfo['img_shape'] for sample in other['data_samples']]
        assert metas == [sample.metainfo['img_shape'] for sample in one['data_samples']]
    again = drawn(yolo, 'device').make_batch([0, 1])
    assert again['inputs'].shape == (2, 3, 32, 32)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_images_on_the_device_are_kept_once(yolo, num_workers):
    loader = drawn(yolo, 'device', num_workers=num_workers)
    sizes = {path: img.shape for path, img in loader.dataset.cached_images.items()}
    first, again = (list(loader) for _ in range(2))
    images = loader.dataset.cached_images
    assert {path: img.shape for path, img in images.items()} == sizes and images
    assert not any(isinstance(img, np.ndarray) for img in images.values())
    assert all(torch.equal(one['inputs'], other['inputs']) for one, other in zip(first, again, strict=True))
    image = next(iter(images.values()))
    for read in (np.asarray, lambda img: img[:2], lambda img: cv2.resize(np.asarray(img), (2, 2))):
        with pytest.raises(TypeError, match=r"keeps the pixels of images on the device.*use render_on='workers'"):
            read(image)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda cfg: cfg.update(cache=None), "YoloTxtDataset keeps none: set cache='ram' in it"),
        (lambda cfg: cfg['pipeline'].insert(4, {'type': 'ColorJitter'}), 'cannot do ColorJitter in the pipeline'),
        (lambda cfg: cfg['pipeline'].insert(2, {'type': 'RandAugment'}), 'cannot do RandAugment in the pipeline'),
        (lambda cfg: cfg['pipeline'][3].update(antialias=True), r'cannot do Render\(antialias=True\)'),
        (lambda cfg: cfg['pipeline'].pop(3), 'needs one Render in the pipeline of YoloTxtDataset, which has 0'),
    ],
    ids=['cache', 'pixels', 'operations', 'antialias', 'render'],
)
def test_what_cannot_be_drawn_on_the_device_is_refused(yolo, change, message):
    yolo['cache'] = 'ram'
    change(yolo)
    with pytest.raises(ConfigError, match=message):
        build_dataloader({'dataset': yolo, 'batch_size': 2, 'render_on': 'device'}, seed=0)


def test_a_batch_that_collate_would_pad_is_not_drawn_on_the_device(yolo):
    with pytest.raises(ConfigError, match=r"pads none to size_divisor=32 of collate_fn: use render_on='workers'"):
        drawn(yolo, 'device', collate_fn={'type': 'collate', 'size_divisor': 32})


def test_images_of_several_sizes_are_not_drawn_together(yolo):
    yolo['pipeline'] = [{'type': kind} for kind in ('LoadImageFromFile', 'Render', 'PackInputs')]
    loader = drawn(yolo, 'device')
    sizes = [(10, 20), (30, 20), (10, 20), (10, 20)]
    samples = loader.dataset.__getitems__(range(4))
    changed = [
        {**sample, 'drawing': replace(sample['drawing'], size=size)}
        for sample, size in zip(samples, sizes, strict=True)
    ]
    with pytest.raises(ValueError, match='must have one size'):
        loader.collate_fn(changed)


@pytest.mark.parametrize(
    ('given', 'num_batches', 'expected'),
    [(None, None, 3), (None, 2, 2), (None, 0, 0), (5, 2, 5), (0, 9, 0)],
)
def test_workers_by_default_are_no_more_than_processors_and_batches(monkeypatch, given, num_batches, expected):
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    monkeypatch.setattr(loader, 'processors', lambda: 3)
    assert number_of_workers(given, num_batches) == expected


def test_workers_by_default_share_the_processors_of_a_machine(monkeypatch):
    monkeypatch.setattr(loader, 'processors', lambda: 40)
    found = []
    for processes in (1, 8, 64):
        monkeypatch.setenv('LOCAL_WORLD_SIZE', str(processes))
        found.append(number_of_workers(None))
    assert found == [8, 5, 1]


def test_a_loader_has_as_many_workers_as_are_of_use(monkeypatch):
    monkeypatch.setattr(loader, 'processors', lambda: 2)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert loader_of(Keys(), batch_size=4, num_workers=None).num_workers == 2
        assert loader_of(Keys(), batch_size=99, num_workers=None).num_workers == 1
        assert loader_of(Keys(), batch_size=4).num_workers == 0
    with pytest.warns(UserWarning, match='num_workers=3 of a data loader are more processes than the 2 processors'):
        assert loader_of(Keys(), batch_size=4, num_workers=3).num_workers == 3


@pytest.mark.parametrize('name', ['yolov8/det_coco', 'detr/det_coco', 'faster_rcnn/det_coco', 'yolov8/cls_imagenet'])
def test_configs_leave_the_number_of_workers_open(name):
    config = load_config(name, need_classes=False)
    for split in ('train', 'val', 'test'):
        assert config[f'{split}_dataloader']['num_workers'] is None
    config = load_config(name, {'num_workers': 7}, need_classes=False)
    assert config.train_dataloader['num_workers'] == config.test_dataloader['num_workers'] == 7
