"""Steps of prediction to be timed, from image files to data samples, phase by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from detkit.analysis.speed.execution_modes import ExecutionMode, Network, network_maker
from detkit.analysis.speed.paired_timing import Step, synchronize
from detkit.analysis.speed.tested_detector import TestedDetector
from detkit.inference import Predictor, SourceImage, find_images, require_images
from detkit.sample_data.coco8 import training_images, write_jpeg
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import DataError

PHASES = ('load', 'preprocess', 'network', 'postprocess')

_DRAWN = 4
_MOST_IMAGES = 64


def draw_images(folder: Path) -> list[str]:
    """Draw pictures of 640 x 640 to predict on, and return their paths."""
    squares = [image for image in training_images() if image.shape[0] == image.shape[1]][:_DRAWN]
    paths = [folder / f'{i}.jpg' for i in range(_DRAWN)]
    for path, image in zip(paths, squares, strict=True):
        write_jpeg(path, image)
    return [str(path) for path in paths]


def readable_images(source: Sequence[str]) -> list[SourceImage]:
    """Return the first images, 64 at most, of files, folders and patterns.

    Raises:
        DataError: there is none, or one that cannot be read.
    """
    images = list(require_images(find_images(source)))[:_MOST_IMAGES]
    for image in images:
        try:
            image.read()
        except DataError as error:
            raise DataError(f'{error}; leave it out of the images to time on') from error
    return images


def batches(images: Sequence[SourceImage], batch_size: int) -> list[list[SourceImage]]:
    """Split images into full batches, which start again with the first images if need be."""
    number = -(-len(images) // batch_size)
    return [[images[(b * batch_size + i) % len(images)] for i in range(batch_size)] for b in range(number)]


class PredictionMaker:
    """Maker of steps for ``time_paired`` that predict one batch from its files and time ``PHASES``.

    'load' reads and decodes files, 'preprocess' makes the network's input and brings it to the device, 'network' goes
    to raw predictions (by another runtime to decoded ones), 'postprocess' to data samples in pixels of the images
    (decoding, suppression, masks).

    Args:
        predictor: what predicts.
        mode: how its network is run.
        images: what to predict on.
        batch_size: images at a time, also an attribute.

    Raises:
        ConfigError: see ``network_maker``.
    """

    def __init__(
        self, predictor: Predictor, mode: ExecutionMode, images: Sequence[SourceImage], batch_size: int
    ) -> None:
        self._predictor, self._mode = predictor, mode
        self.batch_size = batch_size
        self._batches = batches(images, batch_size)
        self._make_network = network_maker(predictor.model, mode)
        # These are made anew for each shape of input.
        self._settled = not (mode.compiled or mode.runtime)

    def __call__(self) -> Step:
        network = self._make_network()

        def step(turn: int) -> list[float]:
            return self._predict(network, turn)[0]

        if not self._settled:
            for turn in range(len(self._batches)):
                step(turn)
            self._settled = True
        return step

    def samples(self) -> list[DetDataSample]:
        """Return the predictions on all batches."""
        network = self._make_network()
        return [sample for turn in range(len(self._batches)) for sample in self._predict(network, turn)[1]]

    def detector(self) -> TestedDetector:
        """Return a detector with the network as it is timed, for a test."""
        return TestedDetector(self._predictor.model, self._make_network(), self._mode)

    @torch.inference_mode()
    def _predict(self, network: Network, turn: int) -> tuple[list[float], list[DetDataSample]]:
        predictor, model = self._predictor, self._predictor.model
        device = predictor.device
        times = [time.perf_counter()]
        chosen = self._batches[turn % len(self._batches)]
        decoded = [SourceImage(image.name, image.read()) for image in chosen]
        times.append(time.perf_counter())
        samples = [predictor.prepare(image, i).packed for i, image in enumerate(decoded)]
        data = model.data_preprocessor(predictor.make_batch(samples), training=False)
        synchronize(device)
        times.append(time.perf_counter())
        with self._mode.precision(device):
            preds = network(data)
            synchronize(device)
            times.append(time.perf_counter())
            found = model.predict(preds, data['data_samples'])
        synchronize(device)
        times.append(time.perf_counter())
        return [end - start for start, end in zip(times, times[1:], strict=False)], found


def noise_maker(model: nn.Module, img_size: int) -> Callable[[], Step]:
    """Return a maker of steps for ``time_paired`` that run the network alone on an image of square noise."""
    make_network, device = network_maker(model, ExecutionMode()), next(model.parameters()).device
    images = torch.randint(
        256, (1, 3, img_size, img_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    data = model.data_preprocessor({'inputs': images}, training=False)

    def make() -> Step:
        network, own = make_network(), {**data, 'inputs': data['inputs'].clone()}

        @torch.inference_mode()
        def step(turn: int) -> tuple[float]:
            synchronize(device)
            began = time.perf_counter()
            network(own)
            synchronize(device)
            return (time.perf_counter() - began,)

        return step

    return make
