"""``Runner``: train, validate or test what a config describes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detkit.datasets.loader import BatchLoader
from detkit.engine.base_runner import BaseRunner
from detkit.engine.checkpoint import Resumable, check_weights, find_resumable, load_checkpoint
from detkit.engine.compilation import compile_network
from detkit.engine.data_state import check_same_data
from detkit.engine.default_weights import find_default_weights, random_start
from detkit.engine.eval_loops import EvalLoop
from detkit.engine.finetune import check_names, has_backbone, load_weights
from detkit.engine.folder_lock import unlock_folder
from detkit.engine.memory_errors import explaining_memory_errors
from detkit.engine.non_finite import check_policy
from detkit.engine.optim_constructor import build_optim_wrapper
from detkit.engine.optim_wrapper import AccumulatingOptimWrapper
from detkit.engine.own_components import naming_own_components
from detkit.engine.parted_step import check_memory_policy
from detkit.engine.random_state import preserved_random_state, seed_everything
from detkit.engine.rehearsal import rehearse
from detkit.engine.resumed_files import begin_branch
from detkit.engine.run_folder import display_path, has_history
from detkit.engine.schedule import Schedules, build_schedules
from detkit.engine.start_notes import check_annotations, check_batch_of_one
from detkit.engine.stop_signals import TrainingStopped
from detkit.engine.training_state import restore_training_state, sync_buffers, unwrap
from detkit.models.base_module import Initialisable
from detkit.models.layers import synchronise_batch_norm
from detkit.registry import RUNNERS
from detkit.structures.keypoints import keypoint_info
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.front_end import argument, changing, resuming
from detkit.utils.interrupts import Terminated
from detkit.utils.numbers import count_text


@RUNNERS.register_module()
class Runner(BaseRunner):
    """Trains, validates or tests what a config describes; arguments, attributes and errors as ``BaseRunner``.

    Attributes:
        optim_wrapper, param_schedulers: from ``prepare_training`` on.
    """

    optim_wrapper: AccumulatingOptimWrapper
    param_schedulers: Schedules
    _has_loaded = False

    @classmethod
    def from_cfg(cls, cfg: Config | Mapping[str, Any]) -> Runner:
        """Build a runner; mmengine's name for the constructor."""
        return cls(cfg)

    def train(self) -> nn.Module:
        """Train, and evaluate the best weights.

        Returns:
            The model, with the best weights where there was a validation.

        Raises:
            MemoryShortageError: the memory is too small for the batch.
            TrainingStopped: SIGTERM, SIGINT, SIGHUP or SIGUSR1 stopped it, and its state is saved.
        """
        try:
            with explaining_memory_errors(self):
                with self._tidied_on_mistake():
                    self.prepare_training()
                    check_annotations(self)
                with naming_own_components(self.cfg, self.train_loop.position):
                    self.train_loop.run()
                    self._final_evaluation()
                    self.call_hook('after_run')
        except TrainingStopped as stop:
            self.console.close()
            loop = self.train_loop
            self.console.line(
                f'stopped  by {stop.signal_name} after {count_text(loop.epoch, "epoch")} and '
                f'{count_text(loop.batch, "iteration")}; '
                f'{resuming()} goes on from there in {display_path(self.work_dir)} (exit status {stop.code})'
            )
            raise
        except KeyboardInterrupt as interrupt:
            by = interrupt.signal_name if isinstance(interrupt, Terminated) else 'hand'
            self.console.close()
            self.console.line(
                f'stopped  by {by}; {resuming()} goes on from the newest checkpoint in {display_path(self.work_dir)}'
            )
            raise
        finally:
            self.close()
        return unwrap(self.model)

    def prepare_training(self) -> None:
        """Build all that ``train`` needs, and load the weights it starts from."""
        loop, model = self.train_loop, unwrap(self.model)
        _ = self.val_loop  # a mistake in it must show before training, too
        metainfo = loop.dataloader.dataset.metainfo
        self.classes = tuple(metainfo.get('classes') or self.classes)
        self.keypoints = keypoint_info(metainfo)
        if self.world_size > 1:
            check_same_data(all_gather_object(self.data_state))
        checkpoint, source = self._find_checkpoint()
        loop.freeze_parts(model)
        load_from = self.cfg.get('load_from')
        # A resumed run needs no first weights: the file of a backbone's may be gone.
        missing = self._start(load_from) if checkpoint is None else ''
        if self.distributed and self.world_size > 1:
            if self.cfg.get('sync_bn', False):
                synchronise_batch_norm(model)
            self.model = self._wrap(model)
            seed_everything(self.seed + self.rank)  # draws of a user's own layers differ from process to process
        self.optim_wrapper = self._build_optim_wrapper(self.cfg.optim_wrapper)
        self.param_schedulers = build_schedules(
            self.cfg.get('param_scheduler'), self.optim_wrapper, loop.epoch_length, loop.max_epochs
        )
        if missing:
            steps = loop.max_iters // self.optim_wrapper.accumulate
            self.console.line(random_start(self.cfg.default_load_from, missing, steps))
        check_policy(self, loop.non_finite)
        check_memory_policy(self, loop.out_of_memory)
        self.call_hook('before_run')
        self.call_hook('before_fit')
        if checkpoint is not None:
            for note in restore_training_state(self, checkpoint, str(source)):
                self.console.line(f'note     {note}')
            self.resumed, self.resumed_from = True, source
            self.started_from = dict(checkpoint['meta'].get('started_from') or {})
            self.console.line(f'resume   {display_path(source)}: epoch {loop.epoch + 1}, iteration {loop.batch + 1}')
        check_batch_of_one(self)
        rehearse(self)
        compile_network(unwrap(self.model), loop.compile, self.device)
        resume = self.cfg.get('resume')
        if checkpoint is not None and resume is not True and not Path(resume).is_dir():
            begin_branch(self, source)
        if resume:
            self._write_config()
        self._has_loaded = True

    def _build_optim_wrapper(self, config: AccumulatingOptimWrapper | Mapping[str, Any]) -> AccumulatingOptimWrapper:
        if not isinstance(config, Mapping):
            return config
        loop = self.train_loop
        return build_optim_wrapper(
            config, unwrap(self.model), self.batch_size, loop.max_iters, len(self.classes), loop.max_epochs
        )

    def _init_weights(self, replaced_by: Mapping[str, Tensor] | None = None) -> None:
        """Initialise the model's weights; not a backbone that other weights replace as a whole, which may need a file.

        Args:
            replaced_by: the weights that are copied into the model next.
        """
        model = unwrap(self.model)
        if has_backbone(replaced_by or {}, model):
            model.backbone.is_init = True
        if isinstance(model, Initialisable):
            model.init_weights()
        for tensor in model.state_dict().values():
            broadcast(tensor)

    def _find_checkpoint(self) -> tuple[dict[str, Any] | None, Path | None]:
        """Return the checkpoint to resume, as ``resume`` asks, and its path."""
        resume = self.cfg.get('resume', False)
        if not resume:
            return None, None
        if isinstance(resume, str) and not Path(resume).is_dir():
            return load_checkpoint(resume), Path(resume)
        found = find_resumable(self.work_dir)
        if found.checkpoint is None and has_history(Path(self.work_dir)):
            raise CheckpointError(self._why_not_resumable(found))
        for error in found.damaged.values():
            self.console.line(f'note     {error}')
        if found.checkpoint is None:
            self.console.line(f'resume   nothing to resume in {display_path(self.work_dir)}: this run starts anew')
        elif found.damaged:
            self.console.line(f'note     falling back to {found.path.name}, the newest intact checkpoint')
        return found.checkpoint, found.path

    def _why_not_resumable(self, found: Resumable) -> str:
        folder = display_path(self.work_dir)
        reasons = [f'{path.name} ({path.stat().st_size:,} bytes) is damaged' for path in found.damaged]
        reasons += [f'{path.name} holds weights only' for path in found.weights]
        remedies = [f'{changing("load_from", display_path(path))} without {resuming()}' for path in found.weights[:1]]
        return (
            f'{folder} holds the results of a run, but no checkpoint that it can go on from: '
            f'{", ".join(reasons) or "there is no .pth file"}. A new start there would overwrite the run. Start a new '
            f'one {"from its weights (" + remedies[0] + ")" if remedies else f"without {resuming()}"}, with another '
            f'{argument("work_dir")}, or remove {folder}.'
        )

    def _start(self, load_from: str | None) -> str:
        """Set the weights that training starts from; return why the config's default ones are not used."""
        if load_from:
            self._start_from(load_from)
            return ''
        name = self.cfg.get('default_load_from')
        path, reason = find_default_weights(name) if name else (None, '')
        if path is not None:
            try:
                self._start_from(str(path), name)
                return ''
            except CheckpointError as error:
                reason = f'the weights {name} do not fit ({error})'
        self._init_weights()
        return reason

    def _start_from(self, path: str, name: str = '') -> None:
        checkpoint, model = load_checkpoint(path), unwrap(self.model)
        check_names(model, checkpoint['state_dict'], name or path)
        self._init_weights(checkpoint['state_dict'])
        report = load_weights(model, checkpoint, self.classes, name or path)
        meta, path = checkpoint['meta'], name or path
        self.started_from = {**(meta.get('converted_from') or meta.get('started_from') or {}), 'checkpoint': path}
        for i, line in enumerate(report.lines()):
            self.console.line(f'load     {path}: {line}' if i == 0 else f'         {line}')
        self.logger.info('Tensors initialised anew: %s\nNot used: %s', report.reinitialised, report.unused)

    def _wrap(self, model: nn.Module) -> DistributedDataParallel:
        from mmengine.model import MMDistributedDataParallel  # takes a second, and one process needs none

        # Running statistics go their own way in each process until a validation.
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        buffers = 'forward_sync_buffers' if 'forward_sync_buffers' in known else 'broadcast_buffers'
        return MMDistributedDataParallel(
            model,
            device_ids=[self.device.index] if self.device.type == 'cuda' else None,
            find_unused_parameters=bool(self.cfg.get('find_unused_parameters', False)),
            gradient_as_bucket_view=True,  # gradients are sent from where they lie, and are held once
            **{buffers: False},
        )

    def validate(self, keep: bool = False, batches: Iterable[dict[str, Any]] | None = None) -> dict[str, float]:
        """Validate the current (averaged) weights, leaving no trace in the random states.

        Args:
            keep: keep each image's ground truth and predictions, see ``Evaluator.sample_metric``.
            batches: a trial's, which replace those of the validation data.
        """
        if self.ema is None and self.world_size > 1:
            sync_buffers(unwrap(self.model))
        try:
            with preserved_random_state():
                return self.val_loop.run(keep, batches)
        finally:
            if self.ema is not None and self.ema.swapped:  # a failed validation leaves the averages in the model
                self.ema.swap()

    def _final_evaluation(self) -> None:
        """Evaluate ``best.pth``, unless the validation after the last epoch was of it; the model keeps its weights."""
        best, loop = Path(self.work_dir) / 'best.pth', self.train_loop
        if not (loop.final_eval and self.val_loop is not None and loop.best_epoch and best.exists()):
            return
        try:
            checkpoint = load_checkpoint(best)
        except CheckpointError as error:
            self.console.line(f'note     the best weights are not evaluated: {error}')
            return
        unwrap(self.model).load_state_dict(checkpoint['state_dict'])
        self.ema = None
        metrics = loop.final_metrics
        if metrics is None or checkpoint['meta']['epoch'] != loop.epoch:
            metrics = self.validate(keep=True)
        # Where the disk was full, the file is that of an earlier epoch.
        self.console.line(f'best     epoch {checkpoint["meta"]["epoch"]}, {display_path(best)}')
        for table in self.val_evaluator.tables():
            self.console.line(table)
        self.call_hook('after_final_eval', metrics=metrics)

    def val(self) -> dict[str, float]:
        """Validate the weights of ``load_from``, without training."""
        if self.val_loop is None:
            raise ConfigError('the config has no val_dataloader, val_cfg and val_evaluator, so it cannot validate.')
        return self._evaluate(self.val_loop)

    def test(self, keep: bool = False) -> dict[str, float]:
        """Test the weights of ``load_from``.

        Args:
            keep: see ``validate``.
        """
        if self.test_loop is None:
            raise ConfigError('the config has no test_dataloader, test_cfg and test_evaluator, so it cannot test.')
        return self._evaluate(self.test_loop, keep)

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
        path = self.cfg.get('load_from')
        if self._has_loaded or not path:
            return
        checkpoint = load_checkpoint(path)
        check_weights(unwrap(self.model), checkpoint['state_dict'], str(path))
        unwrap(self.model).load_state_dict(checkpoint['state_dict'])
        self._has_loaded = True

    def close(self) -> None:
        """Wait for a checkpoint that is being written, and give back workers, log files and the lock of the folder."""
        self.console.close()
        try:
            self.checkpoint_writer.wait()
        finally:
            with self.noting_failed_writes('log_to'):
                self.scalar_log.close()
            for loop in self._loops.values():
                if isinstance(loop.dataloader, BatchLoader):
                    loop.dataloader.close()
            self._log_files.close()
            unlock_folder(Path(self.work_dir))
