"""``Runner``: builds what a config describes, and trains, validates or tests it."""

import inspect
import os
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, get_dist_info, is_main_process
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope
from mmengine.runner import BaseLoop
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.utils import set_random_seed
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from detkit import __version__
from detkit.config import resolved_text
from detkit.config.top_level import refuse_foreign_scope
from detkit.datasets.loader import build_dataloader
from detkit.engine.checkpoint import check_weights, find_resumable, load_checkpoint
from detkit.engine.console import Console, LogFiles
from detkit.engine.environment import environment_text
from detkit.engine.eval_loops import EvalLoop
from detkit.engine.finetune import load_weights
from detkit.engine.launch import init_distributed
from detkit.engine.optim_constructor import build_optim_wrapper
from detkit.engine.random_state import preserved_random_state
from detkit.engine.run_folder import CONFIG_FILE, LOG_FILE, choose_run_folder, removed_on_mistake, shown
from detkit.engine.scalar_log import ScalarLog
from detkit.engine.schedule import Schedules, build_schedules
from detkit.engine.training_state import restore_training_state, sync_buffers, unwrap
from detkit.registry import HOOKS, LOOPS, MODELS, RUNNERS, refuse_unregistered
from detkit.structures.keypoints import keypoint_info
from detkit.utils.errors import ConfigError

DEFAULT_HOOKS: dict[str, dict[str, Any]] = dict(
    ema=dict(type='EMAHook'),
    close_mosaic=dict(type='CloseMosaicHook'),
    early_stopping=dict(type='EarlyStoppingHook'),
    time_limit=dict(type='TimeLimitHook'),
    skipped=dict(type='SkippedHook'),
    scalars=dict(type='ScalarLogHook'),
    console=dict(type='ConsoleHook'),
    checkpoint=dict(type='CheckpointHook'),
    live_pictures=dict(type='LivePicturesHook'),
)


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's runner with detkit's loop, checkpoints, resume, console and run folder.

    It takes over mmengine's building of components and hook calls, and replaces its constructor, which starts other
    programs to describe the environment, makes folders by time stamp and logs 120 lines to the console.

    Args:
        cfg: the whole config; the keys are those of ``detkit.config``. A component may also be an object.

    Attributes:
        console: where to show lines.
        classes: class names of the data.
        ema: the averaged weights, None without ``EMAHook``.
        resumed: whether this run goes on from a checkpoint.
        device: where the model is.
    """

    def __init__(self, cfg: Config | dict) -> None:
        self.cfg = cfg = cfg if isinstance(cfg, Config) else Config(cfg)
        refuse_unregistered(cfg.to_dict())
        refuse_foreign_scope(cfg.get('default_scope'))
        self._check_groups(cfg)
        self._train_dataloader, self._train_loop = cfg.get('train_dataloader'), cfg.get('train_cfg')
        self._val_dataloader, self._val_loop = cfg.get('val_dataloader'), cfg.get('val_cfg')
        self._val_evaluator = cfg.get('val_evaluator')
        self._test_dataloader, self._test_loop = cfg.get('test_dataloader'), cfg.get('test_cfg')
        self._test_evaluator = cfg.get('test_evaluator')
        self.optim_wrapper, self.param_schedulers = cfg.get('optim_wrapper'), cfg.get('param_scheduler')
        self.auto_scale_lr = None
        self._load_from, self._resume = cfg.get('load_from'), cfg.get('resume', False)
        self._has_loaded = self.resumed = False
        self.ema = None
        self.classes: tuple[str, ...] = tuple(cfg.get('classes') or ())

        self._launcher = cfg.get('launcher', 'none')
        self.setup_env(cfg.get('env_cfg') or {})
        self._randomness_cfg = dict(cfg.get('randomness') or {})
        self.set_randomness(**{'seed': None, **self._randomness_cfg})
        self._name = Path(cfg.filename).stem if cfg.filename else 'run'
        # mmengine finds loggers by this name, so no two runs of a process may share it.
        self._experiment_name = f'{self._name}_{self._timestamp}_{time.time_ns()}'
        trains = self._train_loop is not None
        self._work_dir = str(
            choose_run_folder(cfg.get('work_dir'), self._name, self._resume)
            if trains
            else Path(cfg.get('work_dir') or Path('work_dirs') / self._name).absolute()
        )
        self._log_dir = self._work_dir
        self.default_scope = DefaultScope.get_instance(self._experiment_name, scope_name='detkit')
        self._new_folder = Path(self._work_dir) if trains and not self._resume else None
        with removed_on_mistake(self._new_folder):
            self._begin(cfg, trains)

    def _begin(self, cfg: Config, trains: bool) -> None:
        log_file = os.path.join(self._work_dir, LOG_FILE) if trains else None
        self.logger = self.build_logger(cfg.get('log_level', 'INFO'), log_file)
        self.message_hub = MessageHub.get_instance(self._experiment_name)
        self.visualizer = self.build_visualizer(cfg.get('visualizer'))
        if trains:
            self._introduce()

        self.model = self.build_model(cfg['model']).to(self.device)
        self._model_name = type(self.model).__name__
        self._hooks = []
        self.register_hooks(cfg.get('default_hooks'), cfg.get('custom_hooks'))
        self.logger.info('Hooks:\n%s', self.get_hooks_info())

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> 'Runner':
        """As the constructor; mmengine's name for it."""
        return cls(cfg)

    @staticmethod
    def _check_groups(cfg: Config) -> None:
        for keys in (
            ('train_dataloader', 'train_cfg', 'optim_wrapper'),
            ('val_dataloader', 'val_cfg', 'val_evaluator'),
            ('test_dataloader', 'test_cfg', 'test_evaluator'),
        ):
            missing = [key for key in keys if cfg.get(key) is None]
            if 0 < len(missing) < len(keys):
                given = ', '.join(key for key in keys if key not in missing)
                raise ConfigError(f'the config has {given} but no {" and no ".join(missing)}; give all or none.')

    # ---- environment -------------------------------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Join the other processes, choose the device.

        Args:
            env_cfg: ``backend`` and ``timeout`` (s) of the process group, ``cudnn_benchmark``.
        """
        device = self.cfg.get('device')
        init_distributed(self._launcher, device, env_cfg.get('backend'), env_cfg.get('timeout', 1800))
        self._rank, self._world_size = get_dist_info()
        self._distributed = self._launcher != 'none'
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        if str(device).startswith('cuda') and not torch.cuda.is_available():
            raise ConfigError(f"device is {device!r}, but PyTorch finds no GPU; use device='cpu' or leave it out.")
        if device == 'cuda':
            device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if self._distributed else 'cuda:0'
        self.device = torch.device(device)
        if self.device.type == 'cuda':
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = bool(env_cfg.get('cudnn_benchmark', False))
        stamp = [time.strftime('%Y%m%d_%H%M%S')]
        broadcast_object_list(stamp)
        self._timestamp = stamp[0]

    def set_randomness(self, seed: int | None, deterministic: bool = False) -> None:
        """Seed every generator; ``deterministic`` also forbids algorithms whose result may vary from run to run."""
        self._deterministic = deterministic
        if deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # read by cuBLAS when it starts
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
            torch.use_deterministic_algorithms(True, warn_only=True)
        self._seed = set_random_seed(seed)

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """A logger that writes to the run's log file, and only warnings to the console; other libraries' warnings go to
        the file alone."""
        logger = MMLogger.get_instance(self._experiment_name, log_level=log_level, log_file=log_file, file_mode='a')
        self.console = Console(logger)
        self._log_files = LogFiles(logger, self.console, capture_warnings=log_file is not None)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """mmengine's visualiser where the config has one; else what hands figures on to the config's ``log_to``."""
        if visualizer is None:
            return ScalarLog(self.cfg.get('log_to') if self._train_loop is not None else None, self._work_dir)
        if isinstance(visualizer, dict):
            visualizer.setdefault('save_dir', self._work_dir)
        visualizer = super().build_visualizer(visualizer)
        visualizer.add_config(self.cfg)
        return visualizer

    def _introduce(self) -> None:
        self.console.line(f'detkit {__version__}, torch {torch.__version__}, config {self.cfg.filename or self._name}')
        self.console.line(f'folder   {shown(self._work_dir)}')
        self.logger.info('Environment:\n%s', environment_text())
        text = resolved_text(self.cfg)
        self.logger.info('Config:\n%s', text)
        if is_main_process():
            (Path(self._work_dir) / CONFIG_FILE).write_text(text)

    # ---- building ----------------------------------------------------------------------------------------------------

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        return model if isinstance(model, nn.Module) else MODELS.build(model)

    def build_dataloader(
        self, dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        if isinstance(dataloader, DataLoader):
            return dataloader
        return build_dataloader(dict(dataloader), seed=self.seed, device_type=self.device.type)

    def build_train_loop(self, loop: Any) -> Any:
        return self._build_loop(loop, 'TrainLoop', dataloader=self._train_dataloader)

    def build_val_loop(self, loop: Any) -> Any:
        return self._build_loop(loop, 'ValLoop', dataloader=self._val_dataloader, evaluator=self._val_evaluator)

    def build_test_loop(self, loop: Any) -> Any:
        return self._build_loop(loop, 'TestLoop', dataloader=self._test_dataloader, evaluator=self._test_evaluator)

    def _build_loop(self, loop: Any, default_type: str, **parts: Any) -> Any:
        if not isinstance(loop, dict):
            return loop
        options = {key: value for key, value in loop.items() if key != 'by_epoch'}
        return LOOPS.build({'type': default_type, **options, 'runner': self, **parts})

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """``DEFAULT_HOOKS``, changed or extended by name; None takes one out."""
        for hook in {**DEFAULT_HOOKS, **(hooks or {})}.values():
            if hook is not None:
                self.register_hook(
                    HOOKS.build({k: v for k, v in hook.items() if k != 'priority'}) if isinstance(hook, dict) else hook,
                    priority=hook.get('priority') if isinstance(hook, dict) else None,
                )

    @property
    def is_training(self) -> bool:
        """Whether ``train`` was called; asking mmengine's ``train_loop`` would build it."""
        return isinstance(self._train_loop, BaseLoop)

    @property
    def batch_size(self) -> int:
        """Images of one iteration, over all processes."""
        loader = self.train_loop.dataloader
        return (loader.batch_size or loader.batch_sampler.batch_size) * self.world_size

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        if not isinstance(optim_wrapper, dict):
            return optim_wrapper
        return build_optim_wrapper(
            optim_wrapper, unwrap(self.model), self.batch_size, self.train_loop.max_iters, len(self.classes)
        )

    def build_param_scheduler(self, scheduler: Any) -> Schedules:
        """Start our schedules, and build mmengine's as it does."""
        return build_schedules(scheduler, self.optim_wrapper, self.train_loop.epoch_length, self.train_loop.max_epochs)

    # ---- running -----------------------------------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Train, and evaluate the best weights.

        Returns:
            The model, with the best weights where there was a validation.
        """
        if self._train_loop is None:
            raise ConfigError('the config has no train_cfg, train_dataloader and optim_wrapper, so it cannot train.')
        try:
            with removed_on_mistake(self._new_folder):
                self.prepare_training()
            self.train_loop.run()
            self._final_evaluation()
            self.call_hook('after_run')
        except KeyboardInterrupt:
            self.console.close()
            self.console.line(
                f'stopped  by hand; --resume goes on from the newest checkpoint in {shown(self._work_dir)}'
            )
            raise
        finally:
            self.close()
        return unwrap(self.model)

    def prepare_training(self) -> None:
        """Build all that ``train`` needs, and load the weights it starts from."""
        self._train_loop = self.build_train_loop(self._train_loop)
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)
        metainfo = getattr(self.train_loop.dataloader.dataset, 'metainfo', None) or {}
        self.classes = tuple(metainfo.get('classes') or self.classes)
        model = unwrap(self.model)
        model.dataset_meta = {'classes': self.classes, **keypoint_info(metainfo)}
        checkpoint, source = self._find_checkpoint()
        self.train_loop.freeze_parts(model)
        if checkpoint is None:  # else nothing is left of them, and a backbone's need not be there any more
            self._init_model_weights()
        if checkpoint is None and self._load_from:
            self._start_from(self._load_from)
        if self._distributed and self.world_size > 1:
            self.model = self._wrap(model)
            set_random_seed(self.seed + self.rank)  # dropout differs from process to process
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        self.call_hook('before_run')
        self.call_hook('before_fit')
        if checkpoint is not None:
            for note in restore_training_state(self, checkpoint, str(source)):
                self.console.line(f'note     {note}')
            self.resumed = True
            loop = self.train_loop
            self.console.line(f'resume   {shown(source)}: epoch {loop.epoch + 1}, iteration {loop.batch + 1}')
        self._has_loaded = True

    def _find_checkpoint(self) -> tuple[dict[str, Any] | None, Path | None]:
        """The checkpoint to resume, as ``resume`` asks."""
        if not self._resume:
            return None, None
        if isinstance(self._resume, str):
            return load_checkpoint(self._resume), Path(self._resume)
        checkpoint, path, notes = find_resumable(self._work_dir)
        for note in notes:
            self.console.line(f'note     {note}')
        if checkpoint is None:
            self.console.line(f'resume   nothing to resume in {shown(self._work_dir)}: this run starts anew')
        elif notes:
            self.console.line(f'note     falling back to {path.name}, the newest intact checkpoint')
        return checkpoint, path

    def _start_from(self, path: str) -> None:
        report = load_weights(unwrap(self.model), load_checkpoint(path), self.classes, path)
        for i, line in enumerate(report.lines()):
            self.console.line(f'load     {path}: {line}' if i == 0 else f'         {line}')
        self.logger.info('Tensors initialised anew: %s\nNot used: %s', report.reinitialised, report.unused)

    def _wrap(self, model: nn.Module) -> DistributedDataParallel:
        # Running statistics go their own way in each process until a validation.
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = 'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
        return MMDistributedDataParallel(
            model,
            device_ids=[self.device.index] if self.device.type == 'cuda' else None,
            find_unused_parameters=bool(self.cfg.get('find_unused_parameters', False)),
            **{buffers: False},
        )

    def validate(self, keep: bool = False) -> dict[str, float]:
        """Validate the current (averaged) weights, leaving no trace in the random states.

        Args:
            keep: keep each image's ground truth and predictions, see ``Evaluator.sample_metric``.
        """
        if self.ema is None and self.world_size > 1:
            sync_buffers(unwrap(self.model))
        with preserved_random_state():
            return self.val_loop.run(keep)

    def _final_evaluation(self) -> None:
        """Evaluate ``best.pth``; the model keeps its weights."""
        best = Path(self._work_dir) / 'best.pth'
        loop = self.train_loop
        if not (loop.final_eval and self.val_loop is not None and loop.best_epoch and best.exists()):
            return
        unwrap(self.model).load_state_dict(load_checkpoint(best)['state_dict'])
        self.ema = None
        metrics = self.validate(keep=True)
        tables = [metric.table for metric in self.val_evaluator.metrics if getattr(metric, 'table', '')]
        self.console.line(f'best     epoch {loop.best_epoch}, {shown(best)}')
        for table in tables:
            self.console.line(table)
        self.call_hook('after_final_eval', metrics=metrics)

    def val(self) -> dict[str, float]:
        """Validate the weights of ``load_from``, without training."""
        if self._val_loop is None:
            raise ConfigError('the config has no val_dataloader, val_cfg and val_evaluator, so it cannot validate.')
        self._val_loop = self.build_val_loop(self._val_loop)
        return self._evaluate(self._val_loop)

    def test(self, keep: bool = False) -> dict[str, float]:
        """Test the weights of ``load_from``.

        Args:
            keep: as for ``validate``.
        """
        if self._test_loop is None:
            raise ConfigError('the config has no test_dataloader, test_cfg and test_evaluator, so it cannot test.')
        self._test_loop = self.build_test_loop(self._test_loop)
        return self._evaluate(self._test_loop, keep)

    def _evaluate(self, loop: EvalLoop, keep: bool = False) -> dict[str, float]:
        self.call_hook('before_run')
        self.load_or_resume()
        metrics = loop.run(keep)
        self.call_hook('after_run')
        return metrics

    def load_or_resume(self) -> None:
        """For ``val`` and ``test``: take the weights of ``load_from``, which must fit as they are.

        Raises:
            CheckpointError: they do not.
        """
        if self._has_loaded or not self._load_from:
            return
        checkpoint = load_checkpoint(self._load_from)
        check_weights(unwrap(self.model), checkpoint['state_dict'], str(self._load_from))
        unwrap(self.model).load_state_dict(checkpoint['state_dict'])
        meta = checkpoint['meta']
        unwrap(self.model).dataset_meta = {'classes': tuple(meta['classes']), **(meta.get('keypoints') or {})}
        self._has_loaded = True

    def learning_rates(self) -> list[float]:
        """Of each parameter group, at this iteration."""
        return [group['lr'] for group in self.optim_wrapper.optimizer.param_groups]

    def broadcast_from_main(self, value: Any) -> Any:
        """The main process's ``value``, on every process."""
        return all_gather_object(value)[0]

    def close(self) -> None:
        """Give back what is global: workers, log files and the capture of warnings."""
        self.console.close()
        self.visualizer.close()
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            if getattr(getattr(loop, 'dataloader', None), '_iterator', None) is not None:
                # Persistent workers end at once when asked here; left to the garbage collector they take seconds each.
                loop.dataloader._iterator = None
        self._log_files.close()
