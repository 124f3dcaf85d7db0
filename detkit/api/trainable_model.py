"""``TrainableModel``: a model that is opened by what names it, trained, tested and tuned, without a config file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from detkit.config.words import check_options, check_space, joined_settings, no_attribute, refuse_unknown
from detkit.utils.call_options import check_flag

if TYPE_CHECKING:
    import torch
    from torch import nn

    from detkit.api.recipes import Recipe
    from detkit.config import LoadedConfig
    from detkit.engine.evaluate import EvaluationSettings
    from detkit.tuning import StudySummary


class TrainableModel:
    """A model, by whatever names it, that is trained, tested and tuned; see ``Detector``.

    Attributes:
        device: where it runs.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        *,
        device: str | torch.device | None = None,
        options: Mapping[str, Any] | None = None,
        runtime: str | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, ('device', 'options', 'runtime'), 'Detector')
        from detkit.api.opening import OpenedConfig, open_model
        from detkit.utils.device import check_device

        check_device(device)  # first, as a model may have to be fetched
        self._lock = Lock()
        self._model: nn.Module | None = None
        self._amp_model: nn.Module | None = None
        self._has_set_classes = False
        self._opened = open_model(model, options, runtime)
        self._runtime = runtime
        by_runtime = runtime not in (None, 'torch')
        self.device = check_device(device or ('cpu' if by_runtime else self._opened.default_device))
        if not isinstance(self._opened, OpenedConfig):
            self._built()

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name)  # only called where there is none

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy take: all save the lock; of a network in a runtime the file that it is from."""
        state = {name: value for name, value in vars(self).items() if name != '_lock'}
        in_runtime = self._model is not None and self._model.is_exported
        return {**state, '_model': None, '_amp_model': None} if in_runtime else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    @property
    def model(self) -> nn.Module:
        """The network, in evaluation mode.

        Raises:
            ConfigError: it is that of a config whose class names are unknown, as its data are not there.
        """
        return self._built()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, by label."""
        return self.model.info.classes

    @property
    def task(self) -> str:
        """The task: 'det', 'seg', 'pose', 'obb' or 'cls'."""
        return self.model.info.config.get('task') or 'det'

    def train(
        self,
        data: str | os.PathLike | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        img_size: int | None = None,
        work_dir: str | os.PathLike | None = None,
        resume: bool = False,
        amp: bool | str | None = None,
        compile: bool | None = None,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Path:
        """Train the model, starting from its weights; afterwards the detector holds the best ones.

        Weights of another project are converted into ``work_dirs/converted`` for it.

        Args:
            data: a data.yaml or a folder with one; a folder with a folder for each class; a folder with COCO's JSON;
                the name of a sample set such as ``'coco8-seg'``; None for the data of the model's own config. Other
                classes than the model's are learnt anew.
            epochs: how often to go through the data; the config's number by default.
            batch_size, img_size: images at a time, and the side that they are scaled to; the config's by default.
            work_dir: the run's folder; ``work_dirs/<config name>`` by default.
            resume: go on with the run whose checkpoint the model is.
            amp: mixed precision; the config's by default.
            compile: whether ``torch.compile`` compiles the network, which takes minutes at first; as the config says by
                default.
            seed: of everything random; the config's by default.
            options: changes to the config as ``--cfg-options`` makes them, such as
                ``{'optim_wrapper.optimizer.lr': 0.01}``.
            settings: variables of the config, such as ``mosaic_prob=0.5`` or ``num_workers=4``.

        Returns:
            The run's folder, with its config, log, checkpoints, tables and pictures.

        Raises:
            TypeError: an argument is unknown; the text names the right word.
            ConfigError, CheckpointError, DataError: of the config, the weights or the data.
        """
        check_flag('resume', resume)
        if compile is not None:
            check_flag('compile', compile)
        from detkit.engine import train_from_config
        from detkit.engine.amp import check_amp

        check_amp(amp or False, 'amp')
        recipe = self._recipe(data, resume, options, settings, epochs, batch_size, img_size)
        runner = train_from_config(
            str(recipe.file),
            recipe.options if resume else {**self._load_from(), **recipe.options},
            work_dir=None if work_dir is None else os.fspath(work_dir),
            resume=str(self._opened.run) if resume else None,
            amp=amp,
            device=str(self.device),
            seed=seed,
            compile=compile,
        )
        folder = Path(runner.work_dir)
        self._reopen(folder)
        return folder

    def val(
        self,
        data: str | os.PathLike | None = None,
        *,
        split: str = 'val',
        batch_size: int | None = None,
        img_size: int | None = None,
        amp: bool = False,
        out: str | os.PathLike | None = None,
        show_dir: str | os.PathLike | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> dict[str, float]:
        """Test the model on data with annotations, and print its metrics.

        Args:
            data: as for ``train``; its classes must be the model's.
            split: ``'val'``, ``'test'``, or ``'train'`` for the training images without augmentation.
            batch_size, options: as for ``train``.
            img_size: the side that images are scaled to; that of the model's own predictions by default.
            amp: whether to compute in mixed precision.
            out: a json file to write the predictions into, in COCO's results format.
            show_dir: a folder for a picture of each image, ground truth beside predictions.
            settings: as for ``train``; and the options of sliced inference and test-time augmentation, such as
                ``tile=640`` or ``tta=True``, see ``detkit.inference.ViewOptions``.

        Returns:
            The metrics by name, such as ``'coco/bbox_mAP'``.

        Raises:
            TypeError: an argument is unknown; the text names the right word.
            ConfigError, CheckpointError, DataError: of the config, the weights or the data.
        """
        check_flag('amp', amp)
        from detkit.api.recipes import as_predicted
        from detkit.engine.evaluate import EvaluationSettings
        from detkit.inference.view_options import ViewOptions

        views = ViewOptions(**{name: settings.pop(name) for name in ViewOptions.names() if name in settings})
        recipe = self._recipe(data, False, options, settings, img_size=img_size)
        if data is not None and self._opened.path is not None:
            recipe = as_predicted(self._opened, recipe, img_size or self._own_side())
        out, show_dir = (None if path is None else os.path.expanduser(path) for path in (out, show_dir))
        given = vars(views) if views.views else None
        test = EvaluationSettings(split, out, str(self.device), batch_size, amp, views=given)
        return self._tested(recipe, test, show_dir)

    def tune(
        self,
        space: Mapping[str, Any],
        data: str | os.PathLike | None = None,
        *,
        num_trials: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        img_size: int | None = None,
        work_dir: str | os.PathLike | None = None,
        amp: bool | str | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> StudySummary:
        """Search the settings that train the model best; afterwards the detector holds the best trial's weights.

        Args:
            space: the values to search, by the keys of ``--cfg-options``: ``{'mosaic_prob': [0, 0.5, 1],
                'optim_wrapper.optimizer.lr': dict(low=1e-4, high=1e-1, log=True)}``.
            num_trials: finished trials of the study; 20 by default.
            work_dir: the study's folder, in which it goes on when it is asked for again;
                ``work_dirs/<config name>-tune`` by default.
            data, epochs, batch_size, img_size, amp, options, settings: as for ``train``, of every trial.

        Returns:
            The trials; ``table()`` shows them, and ``best.py`` in the study's folder is the config of the best one.

        Raises:
            MissingPackageError: Optuna is not installed.
            TypeError: an argument is unknown; the text names the right word.
            ConfigError, CheckpointError, DataError: of the search space, the config, the weights or the data.
        """
        from detkit.engine.amp import check_amp
        from detkit.tuning import tune_config

        check_space(space)
        check_amp(amp or False, 'amp')
        recipe = self._recipe(data, False, options, settings, epochs, batch_size, img_size)
        found = tune_config(
            recipe.file,
            {**self._load_from(), **recipe.options},
            space,
            {} if num_trials is None else {'num_trials': num_trials},
            work_dir,
            device=str(self.device),
            amp=amp,
        )
        if found.ranked:
            self._reopen(found.ranked[0].folder)
        return found

    def config(
        self,
        data: str | os.PathLike | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        img_size: int | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> LoadedConfig:
        """Return the config that ``train`` with the same arguments runs, for a look at it.

        Of weights of another project, which are no file of detkit yet, ``load_from`` is left out.
        """
        from detkit.config import load_config

        recipe = self._recipe(data, False, options, settings, epochs, batch_size, img_size)
        own = self._opened.checkpoint
        return load_config(recipe.file, {**({} if own is None else {'load_from': str(own)}), **recipe.options})

    def save_config(self, path: str | os.PathLike, data: str | os.PathLike | None = None, **arguments: Any) -> Path:
        """Write the config that ``train`` with the same arguments runs as a file; return its path.

        Weights of another project are converted into ``<path>.pth`` beside it, from which it starts.

        Args:
            path: the Python file, whose name ends in ``.py``; one that exists is replaced.
            data, arguments: as for ``config``.
        """
        from detkit.config import resolved_text
        from detkit.utils.errors import ConfigError
        from detkit.utils.files import write_text

        path = Path(os.path.expanduser(path))
        if path.suffix != '.py':
            raise ConfigError(f"a config is a Python file: write '{path.with_suffix('.py')}' in place of '{path}'")
        check_options(options := arguments.pop('options', None))
        options = dict(options or {})
        converted = self._opened.convert(path.with_suffix('.pth'))
        if converted is not None:
            options['load_from'] = str(converted.absolute())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, resolved_text(self.config(data, options=options, **arguments)))
        return path

    def _tested(self, recipe: Recipe, settings: EvaluationSettings, show_dir: str | None = None) -> dict[str, float]:
        """Test the weights; see ``val``."""
        from detkit.engine.evaluate import evaluate_checkpoint

        with self._test_weights() as weights:
            return evaluate_checkpoint(str(recipe.file), weights, recipe.options, settings, show_dir)

    def _check_test(self, recipe: Recipe, settings: EvaluationSettings) -> None:
        """Raise the error that a test would begin with, of the config, the weights or the data."""
        from detkit.config import load_config
        from detkit.engine.evaluate import evaluation_runner

        with self._test_weights() as weights:
            evaluation_runner(load_config(str(recipe.file), recipe.options, trains=False), weights, settings).close()

    @contextmanager
    def _test_weights(self) -> Iterator[str]:
        """Give the file of weights that a test takes.

        Raises:
            ConfigError: they are random.
        """
        from detkit.utils.errors import ConfigError

        with self._opened.weights_file() as weights:
            weights = weights or self._opened.config.get('load_from')
            if weights is None:
                raise ConfigError(f'{self._opened.name} has random weights, of which a test says nothing; train it')
            yield str(weights)

    def _load_from(self) -> dict[str, str]:
        """Return the option that starts a training from these weights; those of another project get a file for it."""
        converted = Path('work_dirs', 'converted', f'{Path(self._opened.name).stem}.pth').absolute()
        start = self._opened.checkpoint or self._opened.convert(converted)
        return {} if start is None else {'load_from': str(start)}

    def _reopen(self, folder: Path) -> None:
        """Hold the best weights of a run."""
        from detkit.api.opening import open_model

        opened = open_model(folder)
        with self._lock:
            self._opened, self._model, self._amp_model = opened, None, None
            self._has_set_classes = False

    def model_for(self, amp: bool | str) -> nn.Module:
        """Return the network for predictions in a precision: where ``'auto'`` left PyTorch, the fastest in it."""
        from detkit.engine.amp import resolve_amp
        from detkit.inference.model import run_by

        model = self.model
        if self._runtime != 'auto' or not model.is_exported or resolve_amp(amp, self.device, 'amp') is None:
            return model
        with self._lock:
            if self._amp_model is None:
                loaded, _ = self._opened.build(self.device)
                self._amp_model = loaded if loaded.is_exported else run_by(loaded, self._runtime, amp)
            return self._amp_model

    def _built(self) -> nn.Module:
        """Build the network where it is not there yet, and print where its weights are from."""
        from detkit.inference.model import run_by

        with self._lock:
            if self._model is None:
                model, lines = self._opened.build(self.device)
                if lines:
                    print('\n'.join(lines))
                self._model = model if model.is_exported else run_by(model, self._runtime)
            return self._model

    def _own_side(self) -> int:
        """Return the side of the images that the model predicts on: an exported file's, or that of its config."""
        from detkit.inference.steps import input_size

        model = self.model
        return input_size(model.info.config, model.classifies) if model.input_size is None else max(model.input_size)

    def _recipe(
        self,
        data: str | os.PathLike | None,
        resume: bool,
        options: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
        epochs: int | None = None,
        batch_size: int | None = None,
        img_size: int | None = None,
    ) -> Recipe:
        """Return the config file and options for some data, with all that a call changes."""
        from detkit.api.recipes import Recipe, check_own_data, find_recipe, resumed_recipe

        named = {'max_epochs': epochs, 'batch_size': batch_size, 'img_size': img_size}
        given = joined_settings({key: value for key, value in named.items() if value is not None}, settings, options)
        recipe = resumed_recipe(self._opened, data) if resume else find_recipe(self._opened, data)
        recipe = Recipe(recipe.file, {**recipe.options, **given})
        if data is None:
            check_own_data(self._opened, recipe)
        return recipe
