"""The drawn weather pictures: layout, determinism, and classes that differ."""

import inspect

import cv2
import numpy as np
import pytest

from detkit.sample_data.rendering.skies import WEATHER, draw_weather
from detkit.sample_data.weather import render_weather, render_weather_pictures
from detkit.utils.rng import keyed_rng


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'weather'
    render_weather(root, num_train=32, num_test=16)
    return root


@pytest.mark.thorough
def test_layout(root):
    for split, count in (('train', 32), ('test', 16)):
        assert sorted(path.name for path in (root / split).iterdir()) == ['cloudy', 'rain', 'shine', 'sunrise']
        for kind in WEATHER:
            assert len(list((root / split / kind).glob('*.jpg'))) == count
    files = [path for path in root.rglob('*') if path.is_file()]
    assert len(files) == 4 * 48 and sum(path.stat().st_size for path in files) / len(files) < 23_000
    counts = inspect.signature(render_weather).parameters
    assert (counts['num_train'].default, counts['num_test'].default) == (64, 24)


def test_the_same_every_time(root):
    for kind in WEATHER:
        for i, image in enumerate(render_weather_pictures('train', kind, 2), 1):
            done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            assert done and (root / f'train/{kind}/{kind}{i:03d}.jpg').read_bytes() == data.tobytes()
    first, other, test = (
        next(render_weather_pictures(*key))
        for key in (('train', 'rain', 1), ('train', 'rain', 1, 1), ('test', 'rain', 1))
    )
    assert (first != other).mean() > 0.5 and (first != test).mean() > 0.5


def descriptors(root, split):
    """Colours of a 4 x 4 thumbnail and how much fine detail each picture has, and its class."""
    found, labels = [], []
    for label, kind in enumerate(WEATHER):
        for path in sorted((root / split / kind).iterdir()):
            image = cv2.imread(str(path)).astype(np.float32)
            detail = cv2.Laplacian(image.mean(-1), cv2.CV_32F).std()
            found.append([*(cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).ravel() / 64), detail / 4])
            labels.append(label)
    return np.array(found), np.array(labels)


def test_classes_can_be_told_apart_but_not_by_their_mean_colour(root):
    (train, train_labels), (test, test_labels) = descriptors(root, 'train'), descriptors(root, 'test')

    def accuracy(columns):
        squared = ((test[:, None, columns] - train[None, :, columns]) ** 2).sum(-1)
        votes = train_labels[squared.argsort(1)[:, :5]]
        return np.mean(
            [np.bincount(row, minlength=4).argmax() == label for row, label in zip(votes, test_labels, strict=True)]
        )

    assert accuracy(slice(None)) > 0.8
    mean_train, mean_test = (data[:, :48].reshape(-1, 16, 3).mean(1) for data in (train, test))
    nearest = train_labels[((mean_test[:, None] - mean_train[None]) ** 2).sum(-1).argmin(1)]
    assert (nearest == test_labels).mean() < 0.92


@pytest.mark.parametrize('kind', WEATHER)
def test_pictures(kind):
    for i in range(6):
        image = draw_weather(keyed_rng(5, i), kind, (120, 150))
        assert image.shape == (120, 150, 3) and image.dtype == np.uint8 and image.std() > 12
        assert (image.min(2) == 255).mean() < 0.25
    assert (draw_weather(keyed_rng(5, 0), kind, (120, 150)) == draw_weather(keyed_rng(5, 0), kind, (120, 150))).all()
