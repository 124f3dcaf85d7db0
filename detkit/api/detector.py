"""``Detector``: a model that predicts, trains and is tested, without a config file. Importing it needs no PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, overload

from detkit.api.trainable_model import TrainableModel
from detkit.config.words import options_of_call
from detkit.export import ExportSettings
from detkit.inference import PredictionOptions
from detkit.utils.call_options import check_flag, takes

if TYPE_CHECKING:
    from detkit.api.recipes import Recipe
    from detkit.inference import Result, Results
    from detkit.inference.sources import Source

__all__ = ['Detector']


class Detector(TrainableModel):
    """A model for any of the five tasks: detect, segment, pose, rotated boxes, classify.

        model = Detector('work_dirs/seg_n_coco8/best.pth')
        for result in model('photos/'):
            print(result.img_path, result.names, result.scores)
            result.save(f'drawn/{Path(result.img_path).name}')

    Calls from several threads do not disturb each other: the options of a call are its own.

    Args:
        model: a checkpoint (``.pth``); a run's folder, whose best checkpoint counts; the name of published weights
            (``detkit zoo list``), which are fetched on first use; a weights file of another project (``.pt`` of
            ultralytics or YOLOv5, ``.weights`` of Darknet, DETR's ``.pth`` or ``.safetensors``), which is converted in
            memory, and in which nothing is run; a file that ``detkit export`` wrote (``.onnx``, ``.xml``); or the name
            or file of a config, such as ``'yolov8/seg_s_coco8'``, whose model has random weights where the config names
            none to start from.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``, …; by default the accelerator if there is one, for exported files
            the CPU.
        options: changes to a config, as ``--cfg-options`` makes them: ``{'size': 's'}``.
        runtime: ``'auto'`` predicts by the fastest of the installed runtimes that gives PyTorch's results, measured on
            first use; ``'onnx'`` or ``'openvino'`` by that one; None by PyTorch. That of an exported file must be named
            where the file may run code (``'torchscript'``, ``'torch_export'``): open only those that you trust.

    Raises:
        TypeError: ``model`` is no path or name, or an argument is unknown.
        CheckpointError, ConfigError: there is no such model, or it cannot be read; the text says what to do.
    """

    @overload
    def __call__(self, source: Source, *, stream: Literal[False] = False, **options: Any) -> Results: ...

    @overload
    def __call__(self, source: Source, *, stream: Literal[True], **options: Any) -> Iterator[Result]: ...

    @takes(PredictionOptions)
    def __call__(
        self, source: Source, *, stream: bool = False, channel_order: str = 'rgb', **options: Any
    ) -> Results | Iterator[Result]:
        """Predict on images.

        Args:
            source: a path, a folder, a pattern, an ``http(s)://`` address, an array ``(H, W, 3)`` uint8, a tensor
                ``(3, H, W)`` or ``(B, 3, H, W)`` (uint8, or floats from 0 to 1), a Pillow image, the bytes of an image
                file, an opened file, a video, a camera's number, a list or an iterator of these; see
                ``detkit.inference.find_sources``. An iterator is advanced in another thread, no more than two batches
                ahead.
            stream: return a generator of results as they are made, for sources that are large and for videos.
            channel_order: the order of the colours in arrays and tensors, ``'rgb'`` or ``'bgr'`` (OpenCV's).
            options: ``score_thr``, ``classes``, ``img_size`` and the like, see
                ``detkit.inference.PredictionOptions``.

        Returns:
            A result an image, in the order of the source. One of an image that cannot be read has no objects, and a
            sentence as its ``error``.

        Raises:
            TypeError: an argument is unknown; the text names the right word.
            DataError: a source that is no list names no image.
            ConfigError: an argument has a value that makes no sense.
        """
        given = options_of_call(PredictionOptions, options, 'the call of a Detector', ('stream', 'channel_order'))
        check_flag('stream', stream)
        from detkit.inference import KeptFrames, Predictor, Result, Results, find_sources, images_of

        sources = find_sources(source, channel_order)
        images = images_of(sources, kept=None if stream else KeptFrames(sources))
        predictor = Predictor(model=self.model_for(given.amp), **vars(given))
        results = (
            Result.of_sample(image, sample, predictor.model.info, predictor.options.score_thr, predictor.listed)
            for image, _, sample in predictor.stream_images(images)
        )
        return results if stream else Results(results)

    @takes(PredictionOptions)
    def predict(self, source: Source, **options: Any) -> Results | Iterator[Result]:
        """Predict on images; the same as calling the detector."""
        return self(source, **options)

    @takes(PredictionOptions)
    def track(
        self,
        source: Source,
        *,
        tracker: str | Mapping[str, Any] = 'bytetrack',
        stream: bool = False,
        channel_order: str = 'rgb',
        **options: Any,
    ) -> Results | Iterator[Result]:
        """Follow objects through a video; results hold the objects that belong to a track, with ``track_ids``.

        Each video of the source is tracked for itself. Images, such as those of a folder or an iterator, are taken for
        the frames of one video. A track keeps to one class, unless ``class_agnostic`` is given.

        Args:
            source: as of a call; a video, a camera's number, a folder or an iterator of frames.
            tracker: the name of a registered tracker: ``'bytetrack'``, ``'sort'``, ``'ocsort'``, ``'botsort'``,
                ``'cbiou'``, or one of your own; with arguments ``dict(type='ByteTrack', max_lost=2.0)``.
            stream, channel_order, options: as of a call; ``score_thr`` is 0.1 by default, as trackers choose
                themselves among boxes of low scores.

        Returns:
            A result a frame.

        Raises:
            MissingPackageError: the package ``trackers`` or PyAV is not installed.
            TypeError, DataError, ConfigError: as of a call; the model is a classifier, or there is no such tracker.
        """
        given = options_of_call(PredictionOptions, options, 'Detector.track', ('tracker', 'stream', 'channel_order'))
        check_flag('stream', stream)
        from detkit.inference import KeptFrames, Predictor, Results, find_sources, track_sources
        from detkit.inference.tracking import with_low_scores

        sources = find_sources(source, channel_order)
        kept = None if stream else KeptFrames(sources)
        predictor = Predictor(model=self.model_for(given.amp), **vars(with_low_scores(given)))
        results = (tracked.result for tracked in track_sources(predictor, sources, tracker, kept))
        return results if stream else Results(results)

    def set_classes(self, classes: Sequence[str], text_embeddings: str | os.PathLike | None = None) -> None:
        """Let an open-vocabulary model look for other classes, from now on, in prediction, tracking, tests and export.

        Args:
            classes: their names.
            text_embeddings: a file with their embeddings, see ``detkit.models.text_encoders.read_embeddings``; by
                default the model's text encoder makes those of names that the model does not have already.

        Raises:
            TypeError: ``classes`` is one text.
            ConfigError: the model's classes are fixed, as those of all models but YOLO-World, or a name is there twice.
            DataError: the file lacks a name, is damaged, or has vectors of another length.
            MissingPackageError, CheckpointError: the text encoder cannot be loaded.
        """
        if isinstance(classes, str):
            raise TypeError(f'classes is {classes!r}, but must be a list of names: write [{classes!r}]')
        from detkit.inference.vocabulary import with_vocabulary

        file = None if text_embeddings is None else os.fspath(text_embeddings)
        model = with_vocabulary(self.model, classes, file)
        with self._lock:
            self._model, self._has_set_classes = model, True

    @contextmanager
    def _test_weights(self) -> Iterator[str]:
        """Give the file of weights that a test takes, with the classes that were set."""
        with super()._test_weights() as weights:
            if not self._has_set_classes:
                yield weights
                return
            from detkit.engine import load_checkpoint, save_checkpoint

            content = load_checkpoint(weights)
            content['meta']['classes'] = list(self.classes)
            content['state_dict']['texts'] = self.model.texts.cpu()
            with TemporaryDirectory(prefix='detkit-') as folder:
                path = Path(folder) / Path(weights).name
                save_checkpoint({key: content[key] for key in ('meta', 'state_dict')}, path)
                yield str(path)

    def __repr__(self) -> str:
        licence = self._model.info.licence if self._model is not None else ''
        return f'<Detector {self._opened.name} on {self.device}{f", weights: {licence}" if licence else ""}>'

    @takes(ExportSettings)
    def export(
        self,
        format: str = 'onnx',
        *,
        path: str | os.PathLike | None = None,
        images: Sequence[str | os.PathLike] | str | os.PathLike | None = None,
        data: str | os.PathLike | None = None,
        **settings: Any,
    ) -> Path:
        """Write the model as a file of another format, check the file against PyTorch, and print the differences.

        Args:
            format: the name of the format, such as ``'onnx'`` or ``'openvino'``.
            path: the file; by default that of the model with the format's suffix, of published weights in the current
                folder. One that exists is replaced once the new one has been checked.
            images: pictures to check with: files, folders or patterns; by default drawn ones, of int8 eight of the
                calibration's.
            data: data with annotations, as for ``val``, on which the model and the file are tested; the metrics of both
                are printed.
            settings: ``batch_size``, ``dynamic``, ``half``, ``int8``, ``nms`` and the like, see
                ``detkit.export.ExportSettings``.

        Returns:
            The file, which ``Detector`` and the commands take.

        Raises:
            TypeError: an argument is unknown; the text names the right word.
            ConfigError: this model cannot be exported so.
            MissingPackageError: a package that the format needs is not installed.
            DataError: no picture can be read, or there are no such data.
            ExportError: the results differ from PyTorch's by more than the tolerance.
        """
        given = options_of_call(ExportSettings, {'format': format, **settings}, 'export()', ('path', 'images', 'data'))
        from detkit.api.recipes import as_predicted
        from detkit.engine.evaluate import EvaluationSettings
        from detkit.export import export_detector
        from detkit.export.format import find_format
        from detkit.utils.errors import ConfigError

        fmt = find_format(format)
        reason = fmt.why_unbuilt() or fmt.why_unchecked()
        if data is not None and reason is not None:
            raise ConfigError(f'{format} files cannot be tested here, as {reason}: leave out data')
        suffix = fmt.suffix
        target = self._opened.beside(suffix) if path is None else Path(os.path.expanduser(path))
        pictures = [images] if isinstance(images, str | os.PathLike) else images
        names = None if pictures is None else [os.fspath(picture) for picture in pictures]
        side = None if data is None else self._side(given.img_size)
        if data is not None:  # whatever is wrong with them is said before the work
            recipe = as_predicted(self._opened, self._recipe(data, False, None, {}, img_size=side), side)
            self._check_test(recipe, EvaluationSettings('val', device=str(self.device)))
        done = export_detector(self.model, target, given, names, self._opened.path, print)
        if data is not None:
            self._print_accuracy(done.path, format, data, side, recipe)
        return done.path

    def _side(self, img_size: int | Sequence[int] | None) -> int:
        """Return the side of square images that a test takes; None stands for the size of the model's config.

        Raises:
            ConfigError: they are not square, or see ``input_sides``.
        """
        from detkit.export.plan import input_sides
        from detkit.utils.errors import ConfigError

        if img_size is None:
            return self._own_side()
        sides = set(input_sides(img_size, 0))
        if len(sides) != 1:
            raise ConfigError(
                f'img_size is {img_size!r}, but data are tested in square images: give one side, or no data'
            )
        return int(sides.pop())

    def _print_accuracy(self, path: Path, runtime: str, data: str | os.PathLike, size: int, recipe: Recipe) -> None:
        """Test the model and its exported file on data, and print the headline metrics of both."""
        from detkit.engine.evaluate import EvaluationSettings
        from detkit.evaluation.headline import headline_names
        from detkit.utils.tables import text_table

        exported = type(self)(path, runtime=runtime)
        is_fixed = exported.model.input_size is not None  # its images are padded to squares
        test = EvaluationSettings('val', device=str(self.device), square=is_fixed)
        before = self._tested(recipe, test)
        after = exported.val(data, img_size=size)
        names = headline_names(before) or list(before)
        rows = [[name, before[name], after[name], after[name] - before[name]] for name in names]
        print(text_table(['', 'PyTorch', path.name, 'difference'], rows))
