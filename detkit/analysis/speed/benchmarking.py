"""Benchmarks of the speed and memory of several models in prediction or training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.errors.compare import unique_labels
from detkit.analysis.speed import prediction_speed, training_speed
from detkit.analysis.speed.execution_modes import ExecutionMode
from detkit.analysis.speed.paired_timing import Step, mean_interval, time_paired
from detkit.analysis.speed.peak_memory import PeakMemory, in_fresh_process, peak_memory, process_peak
from detkit.config import load_config
from detkit.engine.model_cost import count_flops, count_parameters
from detkit.inference import Predictor, init_detector
from detkit.inference.model import check_device
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.utils.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Settings of a benchmark.

    Attributes:
        batch_sizes: images at a time, each timed separately.
        device: where to run; None for the accelerator if there is one.
        img_size: side of the images (prediction only; training takes it from the config); None for the configs'.
        options: changes to all the configs, as ``--cfg-options``.
        images: files, folders and patterns to predict on; None to draw some.
        score_thr: least score of a prediction.
        seconds, rounds, seed: see ``time_paired``.
        memory: whether to measure memory, in a process for each variant.
    """

    batch_sizes: Sequence[int] = (1,)
    device: str | None = None
    img_size: int | None = None
    options: Sequence[str] | dict | None = None
    images: Sequence[str] | None = None
    score_thr: float = 0.25
    seconds: float = 10.0
    rounds: int | None = None
    seed: int = 0
    memory: bool = True

    def __post_init__(self) -> None:
        wrong = [size for size in self.batch_sizes if size < 1]
        if wrong or not self.batch_sizes:
            raise ConfigError(f'a batch size is {wrong[0] if wrong else "missing"}, but must be at least 1')


@dataclass(frozen=True)
class Variant:
    """A model and execution mode to time.

    Attributes:
        label: its name.
        config, checkpoint: files; without a checkpoint the weights are random.
        mode: how the network is run.
    """

    label: str
    config: str
    checkpoint: str | None = None
    mode: ExecutionMode = ExecutionMode()


@dataclass(frozen=True)
class Measurement:
    """The results of a variant.

    Attributes:
        variant: the variant.
        parameters: of the model as it trains.
        flops: of one image, 2 a multiply-add, None where they cannot be counted.
        img_size: side of the square that ``flops`` are of, None in training.
        seconds: of each batch size, ``(K, R, P)``: blocks, rounds, phases; see ``time_paired``.
        memory: of each batch size.
    """

    variant: Variant
    parameters: int
    flops: int | None
    img_size: int | None
    seconds: dict[int, np.ndarray] = field(default_factory=dict)
    memory: dict[int, PeakMemory] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """The results of all variants.

    Attributes:
        phases: names of the phases along the last axis of ``seconds``.
        main: index of the phase that is the model's own.
        device: where it ran.
        settings: how.
        measurements: of each variant, the first being the one that the others are compared with.
    """

    phases: tuple[str, ...]
    main: int
    device: torch.device
    settings: Settings
    measurements: list[Measurement]


def choose_variants(
    configs: Sequence[str],
    checkpoints: Sequence[str | None] | None = None,
    labels: Sequence[str] | None = None,
    modes: Sequence[ExecutionMode] = (ExecutionMode(),),
) -> list[Variant]:
    """Return a variant for every config in every mode.

    Args:
        configs: files; one may come twice.
        checkpoints: of each config; None, or 'none' for one of them, for random weights.
        labels: of each config; their names by default.
        modes: how to run each.

    Raises:
        ConfigError: another number of checkpoints or labels than of configs.
    """
    if checkpoints and len(checkpoints) != len(configs):
        raise ConfigError(f"{len(checkpoints)} checkpoints for {len(configs)} configs; give one for each, or 'none'")
    chosen = [None if path == 'none' else path for path in checkpoints or [None] * len(configs)]
    return [
        Variant(f'{label} {mode.name}'.strip(), str(config), checkpoint, mode)
        for label, config, checkpoint in zip(unique_labels(configs, labels), configs, chosen, strict=True)
        for mode in modes
    ]


def benchmark_prediction(
    variants: Sequence[Variant], settings: Settings, log: Callable[[str], None] = lambda line: None
) -> Benchmark:
    """Time prediction from files to data samples.

    Args:
        variants: at least one.
        settings: how.
        log: called with a line for each stage.

    Raises:
        ConfigError, CheckpointError, DataError: of the models (see ``init_detector``) and the images.
    """
    device = check_device(settings.device)
    with TemporaryDirectory() as folder:
        paths = (
            prediction_speed.readable_images(settings.images)
            if settings.images is not None
            else prediction_speed.draw_images(Path(folder))
        )
        predictors, measurements = [], []
        for variant in variants:
            predictor, found = _predictor(variant, settings, device)
            predictors.append(predictor)
            measurements.append(found)

        def makers(batch_size: int) -> list[Callable[[], Step]]:
            return [
                prediction_speed.prediction_maker(predictor, variant.mode, paths, batch_size)
                for predictor, variant in zip(predictors, variants, strict=True)
            ]

        _time(makers, measurements, settings, log)
        _measure_memory(_prediction_memory, (paths,), measurements, settings, log)
    return Benchmark(prediction_speed.PHASES, 2, device, settings, measurements)


def benchmark_training(
    variants: Sequence[Variant], settings: Settings, log: Callable[[str], None] = lambda line: None
) -> Benchmark:
    """Time training steps on the configs' training data; arguments as ``benchmark_prediction``.

    Raises:
        ConfigError, DataError: of the models and their data.
    """
    device = check_device(settings.device)
    configs = [load_config(variant.config, settings.options) for variant in variants]
    models = [
        training_speed.training_model(variant.config, config) for variant, config in zip(variants, configs, strict=True)
    ]
    measurements = [
        Measurement(variant, count_parameters(model), None, None)
        for variant, model in zip(variants, models, strict=True)
    ]

    def makers(batch_size: int) -> list[Callable[[], Step]]:
        return [
            training_speed.training_maker(model, config, batch_size, device)
            for model, config in zip(models, configs, strict=True)
        ]

    _time(makers, measurements, settings, log)
    _measure_memory(_training_memory, (), measurements, settings, log)
    return Benchmark(training_speed.PHASES, 1, device, settings, measurements)


def time_networks(
    models: Sequence[tuple[str | Path, str | Path | None]],
    options: Sequence[str] | dict | None = None,
    device: str | None = None,
    batch_size: int = 1,
    img_size: int | None = None,
    seconds: float = 5.0,
    rounds: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Time networks in turns, in milliseconds an image, from a normalised image to raw predictions.

    Batch normalisation is folded into the convolutions, as prediction does. The input is square noise.

    Args:
        models: config and checkpoint of each; None for random weights, which are as fast.
        options: changes to all the configs, as ``--cfg-options``.
        device: where to run; the accelerator if there is one by default.
        batch_size: images at a time.
        img_size: side of the images; each config's test size by default.
        seconds, rounds, seed: see ``time_paired``.
        confidence: of the intervals.

    Returns:
        An interval for each network.

    Raises:
        ConfigError, CheckpointError: see ``init_detector``.
    """
    predictors = [
        Predictor(config, checkpoint, device=device, img_size=img_size, options=options)
        for config, checkpoint in models
    ]
    makers = [prediction_speed.noise_maker(predictor.model, predictor.img_size, batch_size) for predictor in predictors]
    taken = time_paired(makers, seconds, rounds, seed=seed)[..., 0] * 1e3 / batch_size
    return [mean_interval(own, confidence) for own in taken]


def _predictor(variant: Variant, settings: Settings, device: torch.device) -> tuple[Predictor, Measurement]:
    model = init_detector(variant.config, variant.checkpoint, device, fuse=False, options=settings.options)
    parameters = count_parameters(model)
    predictor = Predictor(model=fuse_conv_bn(model), img_size=settings.img_size, score_thr=settings.score_thr)
    size = predictor.img_size
    return predictor, Measurement(variant, parameters, count_flops(model, (size, size)), size)


def _time(
    makers: Callable[[int], list[Callable[[], Step]]],
    measurements: list[Measurement],
    settings: Settings,
    log: Callable[[str], None],
) -> None:
    for batch_size in sorted(set(settings.batch_sizes)):
        log(f'timing batches of {batch_size}')
        seconds = time_paired(makers(batch_size), settings.seconds, settings.rounds, seed=settings.seed)
        for own, taken in zip(measurements, seconds, strict=True):
            own.seconds[batch_size] = taken


def _measure_memory(
    function: Callable,
    arguments: tuple,
    measurements: list[Measurement],
    settings: Settings,
    log: Callable[[str], None],
) -> None:
    if not settings.memory:
        return
    for own in measurements:
        log(f'memory of {own.variant.label}')
        own.memory.update(in_fresh_process(function, own.variant, settings, torch.get_num_threads(), *arguments))


def _peaks(
    makers: Callable[[int], Callable[[], Step]], settings: Settings, device: torch.device, before: float | None
) -> dict[int, PeakMemory]:
    """Measure the peak memory of each batch size; small batches come first, since a peak never falls."""
    found = {}
    for batch_size in sorted(set(settings.batch_sizes)):
        step = makers(batch_size)()
        for turn in range(2):
            step(turn)
        found[batch_size] = peak_memory(device, before)
    return found


def _prediction_memory(
    variant: Variant, settings: Settings, num_threads: int, paths: Sequence[str]
) -> dict[int, PeakMemory]:
    before = process_peak()
    torch.set_num_threads(num_threads)
    device = check_device(settings.device)
    predictor, _ = _predictor(variant, settings, device)
    return _peaks(
        lambda batch_size: prediction_speed.prediction_maker(predictor, variant.mode, paths, batch_size),
        settings,
        device,
        before,
    )


def _training_memory(variant: Variant, settings: Settings, num_threads: int) -> dict[int, PeakMemory]:
    before = process_peak()
    torch.set_num_threads(num_threads)
    device = check_device(settings.device)
    config = load_config(variant.config, settings.options)
    model: nn.Module = training_speed.training_model(variant.config, config)
    return _peaks(
        lambda batch_size: training_speed.training_maker(model, config, batch_size, device), settings, device, before
    )
