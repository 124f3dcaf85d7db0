"""Benchmarks of the speed and memory of several models in prediction or training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.errors.compare import unique_labels
from detkit.analysis.speed import prediction_speed, training_speed
from detkit.analysis.speed.agreement import Agreement, agreement
from detkit.analysis.speed.execution_modes import ExecutionMode
from detkit.analysis.speed.paired_timing import Step, mean_interval, time_paired
from detkit.analysis.speed.peak_memory import PeakMemory, in_fresh_process, peak_memory, process_peak
from detkit.config import LoadedConfig, load_config
from detkit.config.options import parse_options
from detkit.engine.evaluate import EvaluationSettings, evaluation_runner
from detkit.engine.model_cost import count_flops, count_parameters
from detkit.inference import Predictor, init_detector
from detkit.inference.model import run_by
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.structures.data_sample import DetDataSample
from detkit.utils.device import check_device
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
        split: the data of the configs to test each variant on, 'test', 'val' or 'train' (prediction only, with
            checkpoints); None for no test.
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
    split: str | None = None

    def __post_init__(self) -> None:
        wrong = [size for size in self.batch_sizes if size < 1]
        if wrong or not self.batch_sizes:
            raise ConfigError(f'a batch size is {wrong[0] if wrong else "missing"}, but must be at least 1')


@dataclass(frozen=True)
class Variant:
    """A model and execution mode to time.

    Attributes:
        label: its name.
        config, checkpoint: files; without a checkpoint the weights are random. An exported file may be given in place
            of a checkpoint, in the plain mode alone.
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
        parameters: number of parameters of the model as it trains; None for an exported file.
        flops: operations on one image, 2 a multiply-add, None where they cannot be counted.
        img_size: side of the square that ``flops`` are of, None in training.
        seconds: for each batch size, ``(K, R, P)``: blocks, rounds, phases; see ``time_paired``.
        memory: peak memory of each batch size.
        agreement: how its predictions on the images, in batches of the smallest size, differ from those of the first
            variant of the same checkpoint; None for that one, in training, and with random weights.
        metrics: its results on the data of ``Settings.split``; empty without one.
    """

    variant: Variant
    parameters: int | None
    flops: int | None
    img_size: int | None
    seconds: dict[int, np.ndarray] = field(default_factory=dict)
    memory: dict[int, PeakMemory] = field(default_factory=dict)
    agreement: Agreement | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """The results of all variants.

    Attributes:
        phases: names of the phases along the last axis of ``seconds``.
        main: index of the phase that is the model's own.
        device: where it ran.
        settings: how.
        measurements: results of each variant, the first being the one that the others are compared with.
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
        checkpoints: checkpoint of each config; None, or 'none' for one of them, for random weights.
        labels: name of each config; their names by default.
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


class _Prediction:
    """Prediction by a variant, from files to data samples.

    Args:
        variant: the variant.
        settings: how to time it.
        paths: paths of the images.
    """

    phases, main = prediction_speed.PHASES, 2

    def __init__(self, variant: Variant, settings: Settings, paths: Sequence[str]) -> None:
        if settings.split is not None and variant.checkpoint is None:
            raise ConfigError(f'{variant.label} has random weights, of which a test says nothing: give a checkpoint')
        device = check_device(settings.device)
        model = init_detector(variant.config, variant.checkpoint, device, fuse=False, options=settings.options)
        exported = model.is_exported
        if exported and variant.mode != ExecutionMode():
            raise ConfigError(
                f'{variant.checkpoint} is an exported file, which runs in one way: time it without --amp, '
                '--compile and --runtimes'
            )
        parameters = None if exported else count_parameters(model)
        model = model if exported else fuse_conv_bn(model)
        own = Predictor(model=model, img_size=settings.img_size, score_thr=settings.score_thr)
        size = own.img_size
        flops = None if exported else count_flops(model, (size, size))
        self.measurement = Measurement(variant, parameters, flops, size)
        runtime = variant.mode.runtime
        predictor = Predictor(model=run_by(model, runtime), **vars(own.options)) if runtime else own
        self._predictor, self._paths, self._settings = predictor, paths, settings

    def metrics(self, maker: prediction_speed.PredictionMaker) -> dict[str, float]:
        """Test the network that a maker times, as ``detkit test`` does with images padded to squares."""
        variant, own = self.measurement.variant, self._settings
        test = EvaluationSettings(own.split, device=own.device, batch_size=maker.batch_size, square=True)
        runner = evaluation_runner(self._tested_config(), variant.checkpoint, test, maker.detector())
        try:
            return runner.test()
        finally:
            runner.close()

    def _tested_config(self) -> LoadedConfig:
        """Return the config of the test, whose images are as large as those that are timed."""
        own = self._settings
        size = {} if own.img_size is None else {'img_size': own.img_size}
        return load_config(self.measurement.variant.config, [*parse_options(own.options), *parse_options(size)])

    def maker(self, batch_size: int) -> prediction_speed.PredictionMaker:
        mode = self.measurement.variant.mode
        return prediction_speed.PredictionMaker(self._predictor, mode, self._paths, batch_size)


class _Training:
    """Training of a variant on its config's data; arguments as ``_Prediction``, without images."""

    phases, main = training_speed.PHASES, 1

    def __init__(self, variant: Variant, settings: Settings, paths: Sequence[str] = ()) -> None:
        self._device = check_device(settings.device)
        self._config = load_config(variant.config, settings.options)
        self._model = training_speed.training_model(variant.config, self._config)
        self.measurement = Measurement(variant, count_parameters(self._model), None, None)

    def maker(self, batch_size: int) -> Callable[[], Step]:
        return training_speed.training_maker(self._model, self._config, batch_size, self._device)


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
    with TemporaryDirectory() as folder:
        source = prediction_speed.draw_images(Path(folder)) if settings.images is None else settings.images
        images = prediction_speed.readable_images(source)
        return _benchmark(_Prediction, variants, settings, log, images)


def benchmark_training(
    variants: Sequence[Variant], settings: Settings, log: Callable[[str], None] = lambda line: None
) -> Benchmark:
    """Time training steps on the configs' training data; arguments as ``benchmark_prediction``.

    Raises:
        ConfigError, DataError: of the models and their data.
    """
    return _benchmark(_Training, variants, settings, log)


def _benchmark(
    kind: type[_Prediction] | type[_Training],
    variants: Sequence[Variant],
    settings: Settings,
    log: Callable[[str], None],
    paths: Sequence[str] = (),
) -> Benchmark:
    timed = [kind(variant, settings, paths) for variant in variants]
    measurements = [own.measurement for own in timed]
    for batch_size in sorted(set(settings.batch_sizes)):
        log(f'timing batches of {batch_size}')
        makers = [own.maker(batch_size) for own in timed]
        seconds = time_paired(makers, settings.seconds, settings.rounds, seed=settings.seed)
        for own, taken in zip(measurements, seconds, strict=True):
            own.seconds[batch_size] = taken
        if kind is _Prediction and batch_size == min(settings.batch_sizes):
            measurements = _with_agreement(measurements, makers)
            tested = makers
    if settings.split is not None:
        measurements = _with_metrics(timed, measurements, tested, log)
    for own in measurements if settings.memory else ():
        log(f'memory of {own.variant.label}')
        peaks = in_fresh_process(_measure_memory, kind, own.variant, settings, paths, torch.get_num_threads())
        own.memory.update(peaks)
    return Benchmark(kind.phases, kind.main, check_device(settings.device), settings, measurements)


def _with_agreement(
    measurements: Sequence[Measurement], makers: Sequence[prediction_speed.PredictionMaker]
) -> list[Measurement]:
    """Compare the predictions of variants of one checkpoint."""
    firsts: dict[tuple[str, str], list[DetDataSample]] = {}
    found = []
    for own, maker in zip(measurements, makers, strict=True):
        model = (own.variant.config, own.variant.checkpoint)
        others = sum((other.variant.config, other.variant.checkpoint) == model for other in measurements) > 1
        if own.variant.checkpoint is None or not others:
            found.append(own)
            continue
        samples = maker.samples()
        found.append(replace(own, agreement=agreement(samples, firsts[model])) if model in firsts else own)
        firsts.setdefault(model, samples)
    return found


def _with_metrics(
    timed: Sequence[_Prediction],
    measurements: Sequence[Measurement],
    makers: Sequence[prediction_speed.PredictionMaker],
    log: Callable[[str], None],
) -> list[Measurement]:
    """Test the variants, which changes the thresholds of their models."""
    found = []
    for kind, own, maker in zip(timed, measurements, makers, strict=True):
        log(f'testing {own.variant.label}')
        found.append(replace(own, metrics=kind.metrics(maker)))
    return found


def _measure_memory(
    kind: type[_Prediction] | type[_Training],
    variant: Variant,
    settings: Settings,
    paths: Sequence[str],
    num_threads: int,
) -> dict[int, PeakMemory]:
    """Measure the peak memory of each batch size; small batches come first, since a peak never falls."""
    before = process_peak()
    torch.set_num_threads(num_threads)
    timed, found = kind(variant, settings, paths), {}
    for batch_size in sorted(set(settings.batch_sizes)):
        step = timed.maker(batch_size)()
        for turn in range(2):
            step(turn)
        found[batch_size] = peak_memory(check_device(settings.device), before)
    return found


def time_networks(
    models: Sequence[tuple[str | Path, str | Path | None]],
    options: Sequence[str] | dict | None = None,
    device: str | None = None,
    img_size: int | None = None,
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
        img_size: side of the images; each config's test size by default.
        rounds, seed: see ``time_paired``; about 5 seconds for each network without ``rounds``.
        confidence: level of the intervals.

    Returns:
        An interval for each network.

    Raises:
        ConfigError, CheckpointError: see ``init_detector``.
    """
    predictors = [
        Predictor(config, checkpoint, device=device, img_size=img_size, cfg_options=options)
        for config, checkpoint in models
    ]
    makers = [prediction_speed.noise_maker(predictor.model, predictor.img_size) for predictor in predictors]
    taken = time_paired(makers, 5.0, rounds, seed=seed)[..., 0] * 1e3
    return [mean_interval(own, confidence) for own in taken]
