"""A rehearsal of a run that has parts of a user's own: two samples go through all of it before training begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from detkit.datasets.base import DetDataset
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.samplers import EpochSampler, checked_order
from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.amp import resolve_amp
from detkit.engine.checkpoint import check_plain
from detkit.engine.optim_constructor import build_optim_wrapper, group_names
from detkit.engine.own_components import TRIED, OwnComponents
from detkit.engine.random_state import preserved_random_state
from detkit.engine.repeatability import made_repeatably
from detkit.engine.schedule import build_schedules
from detkit.engine.training_state import unwrap
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.evaluation.headline import headline_names
from detkit.models.data_preprocessor import StepKey
from detkit.models.detectors import BaseDetector
from detkit.models.wiring import check_feats
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ComponentError, DetkitError, nearest

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

# The images among which two that show objects are looked for.
_LOOKED_AT = 200
# How many batches are made of them to find what does not depend on the sample alone, in other draws of a pipeline.
_TURNS = 4


def rehearse(runner: Runner) -> None:
    """Try a prepared run on two samples of its data, where its config names components of a user's own.

    The samples are trained on, and evaluated, with copies: weights, random states and the order of the data are as they
    were. Runs of detkit's own components are not rehearsed.

    Raises:
        ComponentError: one of the user's components fails, or returns what its contract does not allow.
    """
    own = OwnComponents(runner.cfg, TRIED)
    if own.names:
        with preserved_random_state():
            rehearsal = _Rehearsal(runner, own)
            rehearsal.train()
            if runner.val_loop is not None:
                rehearsal.validate()


class _Rehearsal:
    def __init__(self, runner: Runner, own: OwnComponents) -> None:
        self.runner = runner
        self.own = own
        self.parts = own.names
        self.model = deepcopy(unwrap(runner.model))

    def train(self) -> None:
        """Make the gradients of one batch."""
        batch = {**self.batch(self.runner.train_loop.dataloader), 'step_key': StepKey(self.runner.seed)}
        model = self.model.train()
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        with self.trying('model'), self.runner.optim_wrapper.optim_context(model):
            data = model.data_preprocessor(batch, True)
            if isinstance(model, BaseDetector):
                self.check_maps(model, data['inputs'])
            losses = model(**data, mode='loss')
            self.check_gradients(model, losses, data['gt'])
            loss = model.parse_losses(losses)[0]
        with self.trying('model'):
            loss.float().backward()
        self.check_state(model, shapes)
        self.check_reached(model, data['gt'])
        if OwnComponents(self.runner.cfg, ('optim_wrapper', 'param_scheduler')).names:
            self.step(model)

    def step(self, model: nn.Module) -> None:
        """Make the step of the optimiser, at the rates of the first and the last iteration."""
        runner, loop = self.runner, self.runner.train_loop
        wrapper = build_optim_wrapper(
            runner.cfg.optim_wrapper, model, runner.batch_size, loop.max_iters, len(runner.classes), loop.max_epochs
        )
        schedule = runner.cfg.get('param_scheduler')
        with self.trying('param_scheduler'):
            schedules = build_schedules(schedule, wrapper, loop.epoch_length, loop.max_epochs)
        for iteration in (0, loop.max_iters - 1):
            with self.trying('param_scheduler'):
                schedules.apply(iteration)
            groups = wrapper.optimizer.param_groups
            rates = {name: group['lr'] for name, group in zip(group_names(groups), groups, strict=True)}
            wrong = {name: rate for name, rate in rates.items() if not 0 <= rate < math.inf}
            for name, rate in wrong.items():
                owner = next(iter(OwnComponents(runner.cfg, ('param_scheduler', 'optim_wrapper')).names.values()))
                text = f'{owner}: the learning rate of {name!r} is {rate} in iteration {iteration + 1}, but rates are'
                raise ComponentError(f'{text} finite and at least 0', owner)
        finite = all(bool(param.grad.isfinite().all()) for param in model.parameters() if param.grad is not None)
        owner = self.parts.get(type(wrapper.optimizer))
        with self.trying('optim_wrapper'):
            wrapper.step()
            state = wrapper.optimizer.state_dict()
            wrapper.optimizer.load_state_dict(state)
        if owner is None:
            return
        if finite and not all(bool(param.isfinite().all()) for param in model.parameters()):
            raise ComponentError(f'{owner}: a step makes weights infinite or not a number, of finite gradients', owner)
        try:
            check_plain(state, f'{owner}.state_dict()')
        except TypeError as error:
            raise ComponentError(str(error), owner) from error

    def validate(self) -> None:
        """Predict one batch, and compute the metrics of the user's own."""
        loop, device, model = self.runner.val_loop, self.runner.device, self.model.eval()
        batch, dtype = self.batch(loop.dataloader), resolve_amp(loop.amp, device)
        amp = nullcontext() if dtype is None else torch.autocast(device.type, dtype)
        with self.trying('model'), torch.no_grad(), amp:
            outputs = model.test_step(batch)
        if isinstance(model, BaseDetector) and type(model.head) in self.parts and model.truth == 'gt_instances':
            self.check_predictions(type(model.head).__name__, outputs, len(self.runner.classes))
        for metric in loop.evaluator.metrics:
            if type(metric) in self.parts:
                self.check_metric(deepcopy(metric), outputs, batch)

    # ---- whom an error concerns --------------------------------------------------------------------------------------

    @contextmanager
    def trying(self, key: str) -> Iterator[None]:
        """Name the component of the user's own in which an error was raised, or behind which it was, at ``key``."""
        try:
            yield
        except (DetkitError, MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            reason = self.own.reason(error)
            part = self.own.culprit(error)
            if part is not None:
                text = f'{self.parts[part]} fails on two samples, which are tried before training: {reason}'
                raise ComponentError(text, self.parts[part]) from error
            # The maps of a backbone have been checked where what is behind it fails: the last one is the likeliest.
            suspects = list(OwnComponents(self.runner.cfg, (key,)).names.values())
            if not suspects:
                raise
            text = (
                f'two samples, which are tried before training, fail behind {" and ".join(suspects)}: {reason}; '
                'what it returns is not as docs/add_a_component.md describes'
            )
            raise ComponentError(text, suspects[-1]) from error

    # ---- data --------------------------------------------------------------------------------------------------------

    def batch(self, loader: Any) -> dict[str, Any]:
        """Return a batch of two samples, images with objects where there are any."""
        dataset, key = loader.dataset, f'{"val" if loader is not self.runner.train_dataloader else "train"}_dataloader'
        leaves = list(leaf_datasets(dataset))
        for leaf in leaves:
            if type(leaf) in self.parts:
                self.check_classes(type(leaf).__name__, dataset.metainfo['classes'])
        indices = range(min(len(dataset), _LOOKED_AT))
        shown = [index for index in indices if _shows_objects(dataset, index)] or list(indices)
        keys = [SampleKey(self.runner.seed, 0, position, shown[position % len(shown)]) for position in range(2)]
        watched = [leaf for leaf in leaves if isinstance(leaf, DetDataset)]
        transforms = [leaf.transforms for leaf in watched]
        try:
            for leaf in watched:
                leaf.transforms = deepcopy(leaf.transforms)
            with self.trying(key):
                self.check_order(loader.batch_sampler)
                self.check_repeatable(dataset, watched, keys, key)
                return loader.make_batch(keys)
        finally:
            for leaf, steps in zip(watched, transforms, strict=True):
                leaf.transforms = steps

    def check_repeatable(self, dataset: Any, leaves: list[DetDataset], keys: list[SampleKey], key: str) -> None:
        """Refuse a dataset or transform of the user's own that does not make the same of a sample each time."""
        classes = OwnComponents(self.runner.cfg, (key,)).names.items()  # and functions, which collate
        own = {part: name for part, name in classes if isinstance(part, type) and not issubclass(part, EpochSampler)}
        if not own:
            return
        tried = [[key._replace(position=key.position + turn * len(keys)) for key in keys] for turn in range(_TURNS)]
        whole = [leaf.transforms for leaf in leaves]

        def check(count: int, names: list[str]) -> None:
            for leaf, steps in zip(leaves, whole, strict=True):
                leaf.transforms = steps[:count]
            remedy = 'draw from sample.rng alone, and seed what another package draws by sample.rng.integers(2**31)'
            made_repeatably(lambda: [dataset.__getitems__(each) for each in tried], names, 'batches', remedy)

        longest = max(map(len, whole), default=0)
        try:
            check(longest, [*own.values()])
        except ComponentError:
            for count in range(1, longest + 1):  # so that the transform behind which they differ is named
                last = {type(steps[count - 1]) for steps in whole if len(steps) >= count} & own.keys()
                check(count, [own[part] for part in last] or [*own.values()])
            raise
        finally:
            for leaf, steps in zip(leaves, whole, strict=True):
                leaf.transforms = steps

    def check_order(self, sampler: Any) -> None:
        """Refuse an order of a sampler of the user's own that does not depend on seed and epoch alone."""
        if type(sampler) in self.parts:
            remedy = 'draw from keyed_rng(self.seed, epoch) of detkit.utils.rng'
            names = [self.parts[type(sampler)]]
            made_repeatably(lambda: checked_order(sampler, 0), names, 'the order of an epoch', remedy)

    def check_classes(self, name: str, classes: Sequence[str]) -> None:
        """Refuse classes of a dataset of the user's own that are not those that the head was built for."""
        head = self.runner.cfg['model'].get('head') or {}
        wanted = head.get('num_classes', len(classes))
        if wanted != len(classes):
            raise ComponentError(
                f'{name} gives {len(classes)} classes ({", ".join(classes[:3])}{", …" * (len(classes) > 3)}), but the '
                f'head has {wanted}, as {name}.peek does not return them: return them there under the key classes',
                name,
            )

    # ---- model -------------------------------------------------------------------------------------------------------

    def check_maps(self, model: BaseDetector, inputs: Tensor) -> None:
        """Refuse maps of other strides than a backbone or neck of the user's own states."""
        feats, strides = inputs, ()
        necks = [('neck', neck) for neck in model.neck or ()]
        if not any(type(part) in self.parts for _, part in [('', model.backbone), *necks]):
            return
        for kind, part in [('backbone', model.backbone), *necks]:
            feats = check_feats(part(feats) if kind == 'backbone' else model.apply_neck(part, feats), part, kind)
            strides = tuple(getattr(part, 'out_strides', strides))  # a neck without keeps those before it
            sizes = [tuple(feat.shape[-2:]) for feat in feats]
            fits = all(
                abs(side * stride - whole) < 2 * stride
                for size, stride in zip(sizes, strides, strict=False)
                for side, whole in zip(size, inputs.shape[-2:], strict=True)
            )
            if type(part) in self.parts and not fits:
                name, whole = type(part).__name__, tuple(inputs.shape[-2:])
                raise ComponentError(
                    f'{kind} {name!r} says out_strides = {strides}, but returns maps of {sizes} cells for images of '
                    f'{whole} pixels; what is behind it is built from out_strides, so make the two agree',
                    name,
                )

    def check_gradients(self, model: nn.Module, losses: dict[str, Any], gt: Any) -> None:
        """Refuse a loss from which no gradient flows back."""
        head = getattr(model, 'head', None)
        if not isinstance(gt, GtBatch) or not len(gt.flat_index) or head is None:
            return
        for name, value in losses.items():
            part = getattr(head, name, None)
            owner = next((own for own in (part, head) if type(own) in self.parts), None)
            is_on = getattr(part, 'loss_weight', 1.0) != 0  # a head need not compute what counts for nothing
            if name.startswith('loss_') and owner is not None and is_on and not value.requires_grad:
                text = f'{type(owner).__name__}: no gradient flows back from {name}, so that nothing learns from it'
                raise ComponentError(f'{text}; drop detach(), item() and torch.no_grad() in it', type(owner).__name__)

    def check_state(self, model: nn.Module, shapes: Mapping[str, torch.Size]) -> None:
        """Refuse weights and buffers that are new, or of another shape, after a step, as no run could be resumed."""
        for name, tensor in model.state_dict().items():
            if shapes.get(name) == tensor.shape:
                continue
            owners = (part for path, part in model.named_modules() if name.startswith(f'{path}.') or not path)
            owner = next((type(part) for part in reversed([*owners]) if type(part) in self.parts), None)
            if owner is not None:
                before = f'had the shape {tuple(shapes[name])} before' if name in shapes else 'was not there before'
                raise ComponentError(
                    f'{self.parts[owner]}: {name} has the shape {tuple(tensor.shape)} after a step, but {before}, so '
                    'that no run could be resumed: make it in __init__ and keep its shape, or register a buffer that '
                    'checkpoints need not hold with persistent=False',
                    self.parts[owner],
                )

    def check_reached(self, model: nn.Module, gt: Any) -> None:
        """Refuse a part of the network of the user's own none of whose weights has a gradient."""
        if not isinstance(gt, GtBatch) or not len(gt.flat_index):
            return
        for part in model.modules():
            params = [param for param in part.parameters() if param.requires_grad]
            if type(part) in self.parts and params and all(param.grad is None for param in params):
                name = self.parts[type(part)]
                text = f'{name}: no gradient reaches its weights, so that it learns nothing'
                raise ComponentError(
                    f'{text}; drop detach() and torch.no_grad() in it, or freeze it: train_cfg.freeze', name
                )

    def check_predictions(self, name: str, outputs: list[Any], num_classes: int) -> None:
        """Refuse predictions that lack something, or name a class that there is none of."""
        for output in outputs:
            found = output.get('pred_instances')
            lacking = [key for key in ('bboxes', 'scores', 'labels') if found is None or key not in found]
            if lacking:
                text = f"head '{name}': predict returns no pred_instances.{lacking[0]}, but every DetDataSample has"
                raise ComponentError(f'{text} pred_instances = InstanceData(bboxes=…, scores=…, labels=…)', name)
            wrong = [label for label in found.labels.tolist() if not 0 <= label < num_classes]
            if wrong:
                text = f"head '{name}': predict returns the label {wrong[0]}, but labels are 0 to {num_classes - 1}"
                raise ComponentError(text, name)

    # ---- metrics -----------------------------------------------------------------------------------------------------

    def check_metric(self, metric: Any, outputs: list[Any], batch: dict[str, Any]) -> None:
        """Refuse results that are no numbers, and names that a metric declares and does not compute."""
        name, gathered = type(metric).__name__, isinstance(metric, GatheredMetric)
        with self.trying('val_evaluator'):
            if gathered:
                metric.outfile = None
                metric.process(batch, outputs)
            else:
                metric.process(batch, [output.to_dict() for output in outputs])
            results = metric.evaluate(len(outputs))
        if not gathered or not results:
            return
        found = [key.rpartition('/')[2] for key in results]
        for declared in sorted(metric.declared() - {*found}):
            hint = nearest(declared, found, 1)
            if hint or not headline_names(results):
                text = f'{name} declares {declared!r} (headline, lower_is_better or charts), but its results are'
                raise ComponentError(f'{text} {", ".join(found)}.{hint}', name)
        best = str(self.runner.train_loop.best_metric)
        if best.startswith(f'{metric.prefix}/') and best not in results:
            text = f'train_cfg.best_metric is {best!r}, but the results of {name} are {", ".join(results)}'
            raise ComponentError(f'{text}.{nearest(best, results)}', name)


def _shows_objects(dataset: Any, index: int) -> bool:
    """Return whether an image shows an object, as far as the dataset has records."""
    while hasattr(dataset, 'locate'):
        dataset, index = dataset.locate(index)
    records = getattr(dataset, 'records', None)
    return records is not None and len(records[index].annotations) > 0
