"""``ScalarLog``: the programs that a run's figures are sent to beside its own files."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from detkit.registry import VISBACKENDS, backend_names

LogTo = str | dict | Sequence[str | dict] | None


class ScalarLog:
    """Stands where mmengine's visualiser does, and hands figures on to the backends that ``log_to`` names.

    Args:
        log_to: short names ('tensorboard', 'wandb', 'mlflow', …) or configs of visualiser backends, mmengine's among
            them; one or several, or none.
        save_dir: the run's folder.

    Raises:
        ConfigError: a backend's package is not installed.
    """

    dataset_meta: dict[str, Any] | None = None

    def __init__(self, log_to: LogTo, save_dir: str) -> None:
        configs = [log_to] if isinstance(log_to, str | dict) else list(log_to or ())
        self.backends = [self._build(cfg, save_dir) for cfg in configs] if is_main_process() else []
        self._begun = False

    @staticmethod
    def _build(cfg: str | dict, save_dir: str) -> Any:
        if isinstance(cfg, str):
            cfg = {'type': backend_names().get(cfg.lower(), cfg)}
        return VISBACKENDS.build({'save_dir': save_dir, **cfg})

    def start(self, config: Config, first_step: int) -> None:
        """Begin; ``first_step`` iterations were done before, in a resumed run."""
        self._begun = True
        for backend in self.backends:
            if hasattr(backend, 'first_step'):
                backend.first_step = first_step
            backend.add_config(config)

    def add_scalars(self, scalars: dict[str, float], step: int = 0, file_path: str | None = None) -> None:
        """Figures of ``step``, the number of iterations done; mmengine's ``file_path`` has no meaning here."""
        for backend in self.backends if self._begun else ():
            backend.add_scalars(scalars, step=step)

    def close(self) -> None:
        """Let every backend write what waits."""
        for backend in self.backends if self._begun else ():
            backend.close()
        self._begun = False
