"""Programs that a run's metrics and pictures go to beside its own files: TensorBoard, Weights & Biases, MLflow.

The config's ``log_to`` names them. None of their packages is imported unless it is asked for.
"""

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process

from detkit.config import resolved_text
from detkit.registry import VISBACKENDS, backend_names, is_own, package_of
from detkit.utils.errors import ConfigError, DataError, reason_of

LogTo = str | dict | Sequence[str | dict] | None


class ScalarLog:
    """Sends metrics and pictures to the backends of ``log_to``.

    Args:
        log_to: short names ('tensorboard', 'wandb', 'mlflow', …) or configs of visualiser backends, mmengine's among
            them; one or several, or none.
        save_dir: the run's folder.

    Attributes:
        backends: built on the main process alone. Each has ``add_config``, ``add_scalars``, ``add_image`` and
            ``close``, as mmengine's backends and its visualiser have.

    Raises:
        ConfigError: a backend's package is not installed.
    """

    def __init__(self, log_to: LogTo, save_dir: str) -> None:
        configs = [log_to] if isinstance(log_to, str | dict) else list(log_to or ())
        self.backends = [self._build(cfg, save_dir) for cfg in configs] if is_main_process() else []
        self._begun = False

    @staticmethod
    def _build(cfg: str | dict, save_dir: str) -> Any:
        if isinstance(cfg, str):
            cfg = {'type': backend_names().get(cfg.lower(), cfg)}
        kind = VISBACKENDS.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
        taken = inspect.signature(kind).parameters if callable(kind) else {}
        takes_folder = 'save_dir' in taken or any(each.kind == each.VAR_KEYWORD for each in taken.values())
        return VISBACKENDS.build({**({'save_dir': save_dir} if takes_folder else {}), **cfg})

    def start(self, config: Config, first_step: int) -> None:
        """Begin; ``first_step`` iterations were done before, in a resumed run.

        Raises:
            ConfigError: a backend cannot begin, as one whose server is not reached or asks for a key.
        """
        self._begun = True
        for backend in self.backends:
            if isinstance(backend, ScalarBackend):
                backend.first_step = first_step
            try:
                backend.add_config(config)
            except Exception as error:
                raise ConfigError(f'{_failure(backend, "add_config", error)}; mend that, or leave it out') from error

    def add_scalars(self, scalars: dict[str, float], step: int) -> None:
        """Send the values of ``step``, the number of iterations done."""
        self._send('add_scalars', scalars, step=step)

    def add_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Send a picture ``(H, W, 3)`` uint8 RGB of ``step``."""
        self._send('add_image', name, image, step=step)

    def close(self) -> None:
        """Let every backend write what waits."""
        try:
            self._send('close')
        finally:
            self._begun = False

    def _send(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of every backend.

        Raises:
            OSError: one of them cannot write, or cannot be reached.
            DataError: one of them fails in another way, after all have been called.
        """
        failed: Exception | None = None
        for backend in self.backends if self._begun else ():
            try:
                getattr(backend, method)(*args, **kwargs)
            except OSError as error:
                failed = error
            except Exception as error:
                failed = DataError(_failure(backend, method, error))
        if failed is not None:
            raise failed


def _failure(backend: Any, method: str, error: Exception) -> str:
    kind = type(backend)
    reason = reason_of(error, {package_of(kind)} if is_own(kind) else ())
    return f'{kind.__name__}.{method} of log_to fails: {reason}'


class ScalarBackend:
    """A program that metrics are sent to; its methods are those of mmengine's backends.

    Args:
        save_dir: the run's folder.

    Attributes:
        PACKAGE: what has to be installed, '' for nothing.
        first_step: iterations that were done before, where the run goes on from a checkpoint.

    Raises:
        ConfigError: the package is not installed.
    """

    PACKAGE = ''

    def __init__(self, save_dir: str) -> None:
        if self.PACKAGE and importlib.util.find_spec(self.PACKAGE) is None:
            raise ConfigError(
                f'log_to asks for {self.PACKAGE}, which is not installed: pip install {self.PACKAGE}, or leave it out.'
            )
        self.folder = Path(save_dir)
        self.first_step = 0

    def add_config(self, config: Config) -> None:
        """Begin, before the first value."""
        self.begin(resolved_text(config))

    def begin(self, config: str) -> None:
        """Begin; ``config`` is the run's config as text."""
        raise NotImplementedError

    def add_scalars(self, scalar_dict: Mapping[str, float], step: int = 0) -> None:
        """Send the values of ``step``, the number of iterations done."""
        raise NotImplementedError

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Send a picture ``(H, W, 3)`` uint8 RGB; nothing happens by default."""

    def close(self) -> None:
        """Write what waits; also called where nothing was begun."""
        raise NotImplementedError


@VISBACKENDS.register_module()
class TensorBoardBackend(ScalarBackend):
    """Event files in ``tensorboard/`` of the run's folder: ``tensorboard --logdir work_dirs``.

    In a resumed run the values after its checkpoint are hidden, as they come again.
    """

    PACKAGE = 'tensorboard'
    _writer: Any = None

    def begin(self, config: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge_step = self.first_step + 1 if self.first_step else None
        self._writer = SummaryWriter(str(self.folder / 'tensorboard'), purge_step=purge_step)
        self._writer.add_text('config', f'```\n{config}```')

    def add_scalars(self, scalar_dict: Mapping[str, float], step: int = 0) -> None:
        for name, value in scalar_dict.items():
            self._writer.add_scalar(name, value, step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        self._writer.add_image(name, image, step, dataformats='HWC')

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@VISBACKENDS.register_module()
class WandbBackend(ScalarBackend):
    """Weights & Biases; ``WANDB_MODE=offline`` keeps the values in the run's folder.

    Args:
        save_dir: the run's folder, whose name is the run's.
        project: where the run is listed.
        init_kwargs: further arguments of ``wandb.init``.
    """

    PACKAGE = 'wandb'
    _run: Any = None

    def __init__(self, save_dir: str, project: str = 'detkit', init_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(save_dir)
        self.init_kwargs = {'project': project, 'name': self.folder.name, **(init_kwargs or {})}

    def begin(self, config: str) -> None:
        import wandb

        self._run = wandb.init(dir=str(self.folder), config={'config': config}, **self.init_kwargs)

    def add_scalars(self, scalar_dict: Mapping[str, float], step: int = 0) -> None:
        self._run.log(dict(scalar_dict), step=step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        import wandb

        self._run.log({name: wandb.Image(image)}, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


@VISBACKENDS.register_module()
class MLflowBackend(ScalarBackend):
    """MLflow, at ``tracking_uri`` or the environment's ``MLFLOW_TRACKING_URI``.

    Args:
        save_dir: the run's folder, whose name is the run's.
        experiment: where the run is listed.
        tracking_uri: address of a server or of a database.
    """

    PACKAGE = 'mlflow'
    _mlflow: Any = None

    def __init__(self, save_dir: str, experiment: str = 'detkit', tracking_uri: str | None = None) -> None:
        super().__init__(save_dir)
        self.experiment = experiment
        self.tracking_uri = tracking_uri

    def begin(self, config: str) -> None:
        import mlflow

        if self.tracking_uri is not None:
            mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_experiment(self.experiment)
        mlflow.start_run(run_name=self.folder.name)
        self._mlflow = mlflow
        mlflow.log_text(config, 'config.py')

    def add_scalars(self, scalar_dict: Mapping[str, float], step: int = 0) -> None:
        self._mlflow.log_metrics(dict(scalar_dict), step=step)

    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        self._mlflow.log_image(image, f'{name}/{step:08d}.jpg')

    def close(self) -> None:
        if self._mlflow is not None:
            self._mlflow.end_run()
