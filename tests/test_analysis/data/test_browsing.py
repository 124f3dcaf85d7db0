"""Sheets of a dataset show what training is given."""

import cv2
import numpy as np
import pytest
import torch

from detkit.analysis.data.browsing import contact_sheets, open_browser
from detkit.config import load_config
from detkit.datasets import build_dataloader
from detkit.datasets.collate import collate
from detkit.datasets.wrappers import find_record
from detkit.engine.hooks import CloseTransformsHook
from detkit.utils.errors import ConfigError, DataError
from detkit.visualization.sheets import batch_cell


def write_browsable(root):
    """Six pictures to train on, two to validate with; each with a cat, some with a dog."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 6), ('val', 2)):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            img = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (90, 60), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / 'images' / split / f'{i}.jpg'), img)
            lines = '15 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n' + i % 2 * '16 0.4 0.3 0.9 0.4 0.8 0.9 0.4 0.8\n'
            (root / 'labels' / split / f'{i}.txt').write_text(lines)
    return root


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_browsable(tmp_path_factory.mktemp('data'))


def config(repo, root, *options):
    return load_config(
        repo / 'configs/yolov8/seg_n_coco8.py',
        [f'data_root={root}', 'img_size=64', 'num_workers=0', 'batch_size=4', *options],
    )


def test_samples_are_those_of_training(repo, root):
    cfg = config(repo, root)
    browser = open_browser(cfg, seed=3)
    loader = build_dataloader({**cfg.train_dataloader}, 3)
    for epoch in (0, 5):
        loader.batch_sampler.set_epoch(epoch)
        keys, batches = list(loader.batch_sampler), list(loader)
        index = keys[0][2].index
        sample = browser.samples([index], epoch)[index]
        assert torch.equal(sample['inputs'], batches[0]['inputs'][2])
        assert len(sample['annotations']) == int(batches[0]['gt'].valid[2].sum())
    # Of a repeated set each image is shown once.
    chosen = browser.choose(4)
    assert len({find_record(browser.dataset, i).img_path for i in chosen}) == 4
    assert chosen == browser.choose(4) != open_browser(cfg, seed=4).choose(4)


def test_mosaic_ends_where_training_ends_it(repo, root):
    cfg = config(
        repo, root, 'max_epochs=6', 'translate=0.', 'scale=0.', 'flip_prob=0.', 'hue=0', 'saturation=0', 'value=0'
    )
    assert cfg.default_hooks.close_mosaic.num_epochs == 10
    cfg.default_hooks.close_mosaic.num_epochs = 2
    browser = open_browser(cfg)
    (index,) = browser.choose(1)
    plain = browser.samples([index], 4)[index]['inputs']
    assert torch.equal(plain, browser.samples([index], 5)[index]['inputs'])
    assert not torch.equal(plain, browser.samples([index], 3)[index]['inputs'])
    dataset = build_dataloader({**cfg.train_dataloader}, 0).dataset
    CloseTransformsHook(0).close(dataset, 6)
    assert dataset.dataset.mixing_transforms and not dataset.dataset.active_epochs


def test_images_by_number_and_class(repo, root):
    browser = open_browser(config(repo, root), 'val')
    assert browser.choose(2, class_name='dog') == browser.choose(5, class_name='dog')
    assert browser.choose(1, [1, 0]) == [1, 0] and len(browser.choose(5)) == 2
    with pytest.raises(ConfigError, match="no class 'dgo'. Did you mean 'dog'"):
        browser.choose(2, class_name='dgo')
    with pytest.raises(DataError, match="no image shows a 'zebra'"):
        browser.choose(2, class_name='zebra')
    with pytest.raises(ConfigError, match='no image 7; the dataset has 2'):
        browser.choose(2, [7])
    with pytest.raises(ConfigError, match='no test_dataloader'):
        cfg = config(repo, root)
        cfg.test_dataloader = None
        open_browser(cfg, 'test')


def test_sheets_are_the_same_each_time(repo, root):
    browser = open_browser(config(repo, root))
    indices = browser.choose(4)
    first, second = contact_sheets(browser, indices, (0, 1), rows=2)
    again, _ = contact_sheets(open_browser(config(repo, root)), indices, (0, 1), rows=2)
    assert (first == again).all() and first.shape == second.shape and (first != second).any()
    (alone,) = contact_sheets(browser, indices[:1], (0,), before=False)
    sample = browser.samples(indices[:1], 0)[indices[0]]
    batch = collate([sample])
    cell = batch_cell(batch['inputs'], batch['gt'], 0, 640, browser.classes)
    assert (alone[-640:, :640] == cell).all()


def test_an_image_that_cannot_be_read_is_told(repo, root, tmp_path):
    broken = write_browsable(tmp_path)
    path = next((broken / 'images' / 'val').iterdir())
    path.write_bytes(path.read_bytes()[:-60])
    browser = open_browser(config(repo, broken), 'val')
    (sheet,) = contact_sheets(browser, [0, 1])
    assert sheet.dtype == np.uint8 and (sheet == 114).all(2).mean() > 0.1
