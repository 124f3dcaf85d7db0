"""YOLOv3's recipe on a small detector: what each of its config keys does in a run."""

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from detkit.config import load_config
from detkit.engine import Runner, load_checkpoint
from detkit.engine.loss_log import NonFiniteLossError
from detkit.engine.train_loop import loss_divisor
from detkit.models.heads import BaseHead
from detkit.registry import HOOKS

pytestmark = pytest.mark.no_cover


@HOOKS.register_module(force=True)
class NotingHook(Hook):
    """Keeps what each step was made with."""

    def __init__(self) -> None:
        self.steps: list[dict] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.step = {'step': runner.optim_wrapper.num_steps}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        self.steps.append(
            {
                **self.step,
                'size': model.size,
                'lr': runner.learning_rates()['weight'],
                'accumulate': runner.optim_wrapper.current_accumulate,
            }
        )


def make_runner(tiny_data, work_dir, config, **options):
    options = (
        dict(
            data_root=str(tiny_data),
            img_size=64,
            num_workers=0,
            batch_size=2,
            repeat_times=4,
            max_epochs=2,
            widen_factor=0.0625,
            work_dir=str(work_dir),
            device='cpu',
        )
        | options
    )
    cfg = load_config(config, options)
    cfg.custom_hooks = [dict(type='NotingHook')]
    cfg.default_hooks.pictures = None
    cfg.optim_wrapper.amp = False
    return Runner(cfg)


@pytest.fixture
def recipe(repo, tmp_path):
    """The whole recipe on the few images of the sample set, with the smallest model that has anchors."""
    path = tmp_path / 'recipe.py'
    bases = ['models/yolov5_det', 'datasets/coco8', 'schedules/yolov3', 'default_runtime']
    path.write_text(f'_base_ = {[str(repo / "configs/_base_" / f"{base}.py") for base in bases]}\ntask = "det"\n')
    return path


def run(runner) -> list[dict]:
    model = runner.model
    model.backbone.register_forward_pre_hook(
        lambda module, args: setattr(model, 'size', tuple(args[0].shape[-2:])) if module.training else None
    )
    runner.train()
    return next(hook for hook in runner.hooks if isinstance(hook, NotingHook)).steps


def test_sizes_change_with_the_steps_of_the_optimiser(tiny_data, tmp_path, recipe):
    options = {
        'img_size': 96,
        'optim_wrapper.nominal_batch_size': 4,
        '+train_cfg.val_begin': 2,
        '+train_cfg.final_eval': False,
    }
    steps = run(make_runner(tiny_data, tmp_path / 'run', recipe, **options))
    by_step: dict[int, set] = {}
    for entry in steps:
        by_step.setdefault(entry['step'], set()).add(entry['size'])
    assert all(len(sizes) == 1 for sizes in by_step.values())
    assert len(set.union(*by_step.values())) > 1 and len(by_step) < len(steps)
    assert all(side in (64, 96, 128) for entry in steps for side in entry['size'])
    first = steps[: len(steps) // 2]
    assert first[0]['lr'] == pytest.approx(0.01 * 1e-3) and first[-1]['lr'] == pytest.approx(0.01)
    assert (first[0]['accumulate'], first[-1]['accumulate']) == (1, 2)


@pytest.mark.parametrize(('freeze', 'trained'), [('backbone', {'neck', 'head'}), (['backbone', 'neck'], {'head'})])
def test_both_ways_of_freezing(tiny_data, tmp_path, recipe, freeze, trained):
    # In a narrower head, the few small steps would round to nothing.
    runner = make_runner(tiny_data, tmp_path / 'run', recipe, freeze=freeze, max_epochs=1, widen_factor=0.25)
    runner.model.init_weights()
    runner.model.init_weights = lambda: None
    before = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    run(runner)
    after = runner.model.state_dict()
    changed = {name.split('.')[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == trained  # running statistics, too, stay as they are
    params = {id(param) for group in runner.optim_wrapper.optimizer.param_groups for param in group['params']}
    assert params == {id(param) for name, param in runner.model.named_parameters() if name.split('.')[0] in trained}


def test_a_non_finite_loss_names_the_images(tiny_data, tmp_path, recipe):
    runner = make_runner(tiny_data, tmp_path / 'run', recipe, max_epochs=1)
    runner.model.init_weights = lambda: runner.model.head.convs[0].bias.data.fill_(float('nan'))
    with pytest.raises(NonFiniteLossError, match=r'iteration 1: .*(box|obj).* not a number.* Its images: .*\.jpg'):
        run(runner)


def test_the_best_weights_are_those_of_the_best_mean_precision(tiny_data, tmp_path, recipe):
    runner = make_runner(tiny_data, tmp_path / 'run', recipe, max_epochs=1)
    run(runner)
    assert runner.train_loop.best_metric == 'mAP' and runner.train_loop.val_interval == 1
    assert runner.train_loop.best_fitness == pytest.approx(max(runner.train_loop.best_metrics['coco/bbox_mAP'], 0))
    assert (tmp_path / 'run' / 'best.pth').exists()


@pytest.mark.parametrize(
    ('head', 'divisor'),
    [(dict(), 4), (dict(nominal_batch_size=64), 4 / 64), (dict(loss_reduction='mean'), 1), (None, 4)],
)
def test_losses_are_shown_as_means_over_images(head, divisor):
    model = nn.Module()
    if head is not None:
        model.head = BaseHead()
        vars(model.head).update(head)
    assert loss_divisor(model, 4) == divisor


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the runner handles it."""


@pytest.mark.thorough
def test_a_run_killed_between_two_steps_goes_on_with_the_same_sizes(tiny_data, tmp_path, recipe):
    """And needs the weights that its backbone started from no more."""
    options = {
        'default_hooks.checkpoint.interval_iters': 1,
        'optim_wrapper.nominal_batch_size': 4,
        '+train_cfg.val_begin': 2,
        '+train_cfg.final_eval': False,
    }
    straight = run(make_runner(tiny_data, tmp_path / 'straight', recipe, **options))

    runner = make_runner(tiny_data, tmp_path / 'killed', recipe, **options)
    original = runner.call_hook

    def call_hook(name, **kwargs):
        original(name, **kwargs)
        if name == 'after_fit_iter' and runner.iter == 5:
            raise Killed

    runner.call_hook = call_hook
    with pytest.raises(Killed):
        run(runner)
    assert load_checkpoint(tmp_path / 'killed' / 'last.pth')['optimizer']['pending'] == 1

    resumed = make_runner(tiny_data, tmp_path / 'killed', recipe, resume=True, **options)
    resumed.model.init_weights = None  # would fail
    assert run(resumed) == straight[5:]
    ends = [load_checkpoint(tmp_path / name / 'last.pth')['model'] for name in ('straight', 'killed')]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
