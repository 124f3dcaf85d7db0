"""Kill and disturb training runs of eleven recipes, repeat their command, and compare the ends bit for bit.

    python benchmarks/kill_and_resume.py --seed 0
    python benchmarks/kill_and_resume.py --only seg detr --kills 20 --faults 12

Each recipe is a small training with everything on: bf16, averaged weights, accumulated gradients, sizes that change,
mosaic, mixup and copy-paste or dropout, early stopping, workers, and the evaluation of ``best.pth`` at the end. It runs
once undisturbed. Then it is killed at random moments (SIGKILL, SIGTERM, SIGINT or SIGUSR1, to the main process or to
all of its group), and runs beside are hit by faults of the disk, of workers and of files. After each interruption the
same command, ``tools/train.py CONFIG --work-dir X --resume``, is repeated until it ends with status 0. All checkpoints
(weights, averages, optimiser, schedule, random states, best score), ``scalars.json``, ``results.csv`` and the printed
results of ``best.pth`` must then be those of the undisturbed run, but for times; exit statuses must be those of
docs/reliability.md; no temporary file may be left. The status is 1 where anything differs.

The moments are shares of the undisturbed run's duration, drawn from ``--seed`` and the recipe's name: ``--only`` draws
the same. Needs Linux; data is drawn, not downloaded.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from arguments import not_negative, output_folder, positive, run
from disturbed_runs import FAULTS, ROOT, SIGNALS, Attempt, MissedError, Reference, Trial, WrongEndError, kill
from equal_runs import differences, printed_results

from detkit.engine.checkpoint import load_checkpoint
from detkit.registry import SAMPLE_DATASETS
from detkit.utils.errors import CheckpointError

EVERYTHING = {
    'num_workers': 2,
    'batch_size': 4,
    'val_batch_size': 4,
    'max_epochs': 8,
    'train_cfg.val_interval': 2,
    '+train_cfg.log_interval': 2,
    'optim_wrapper.amp': 'bf16',
    '+optim_wrapper.accumulate': 3,
    'param_scheduler.warmup_epochs': 2,
    '+default_hooks.ema': dict(type='EMAHook', decay=0.9, tau=5),
    '+default_hooks.early_stopping': dict(type='EarlyStoppingHook', patience=4),
    '+default_hooks.checkpoint.interval': 2,
    '+default_hooks.checkpoint.interval_iters': 3,
    '+default_hooks.checkpoint.save_period': 3,
}
SCALES = {'+model.data_preprocessor.multi_scale': (0.75, 1.25)}
BOXES = {
    **EVERYTHING,
    **SCALES,
    'img_size': 128,
    'single_class': True,  # else too few steps for metrics above 0
    'optim_wrapper.optimizer.lr': 0.003,
    'mix_from': 'dataset',
    'mixup_prob': 0.3,
    'degrees': 10,
    'default_hooks.close_mosaic.num_epochs': 2,
}
LOW_SCORES = {'model.head.test_cfg.score_thr': 1e-5}
OUTLINES = {'copy_paste_prob': 0.5, 'repeat_times': 8}


@dataclass(frozen=True)
class Recipe:
    """A training: the config file, the sample dataset that it reads, and what is changed in it."""

    config: str
    data: str
    options: dict[str, Any]


RECIPES = {
    'seg': Recipe('yolov8/seg_n_coco8.py', 'coco8-seg', {**BOXES, **OUTLINES, **LOW_SCORES}),
    'pose': Recipe('yolov8/pose_n_coco8.py', 'coco8-pose', {**BOXES, 'epoch_samples': 32}),
    'obb': Recipe('yolov8/obb_n_dota8.py', 'dota8', {**BOXES, **LOW_SCORES, 'epoch_samples': 32}),
    'cls': Recipe(
        'yolov8/cls_n_weather.py',
        'weather',
        {**EVERYTHING, **SCALES, 'img_size': 64, 'batch_size': 32, 'val_batch_size': 32, 'model.head.dropout': 0.3},
    ),
    'yolov5': Recipe('yolov5/det_n_coco8.py', 'coco8-seg', {**BOXES, **OUTLINES}),
    'yolov3': Recipe('yolov3/det_spp_coco8.py', 'coco8-seg', {**BOXES, **OUTLINES, 'size': 'tiny'}),
    'detr': Recipe(
        'detr/det_r18_coco8.py',
        'coco8-seg',
        {
            **EVERYTHING,
            'img_size': 96,
            'single_class': True,
            'repeat_times': 6,
            'short_sides': [64, 80, 96],
            'flip_prob': 0.5,
            'task': 'seg',
            'model.backbone.out_indices': (1, 2, 3, 4),
            'model.head.type': 'DETRSegmentHead',
            '+model.head.loss_mask': dict(type='MaskFocalLoss'),
            '+model.head.loss_dice': dict(type='MaskDiceLoss'),
            'model.head.transformer.dropout': 0.1,
        },
    ),
    'deim': Recipe(
        'deim/det_n_coco8.py', 'coco8-seg', {**EVERYTHING, 'img_size': 96, 'single_class': True, 'repeat_times': 6}
    ),
    'rfdetr': Recipe(
        'rfdetr/seg_tiny_coco8.py', 'coco8-seg', {**EVERYTHING, 'img_size': 96, 'single_class': True, 'repeat_times': 6}
    ),
    'yolov10': Recipe('yolov10/det_n_coco8.py', 'coco8-seg', {**BOXES, **OUTLINES}),
    'retinanet': Recipe(
        'retinanet/det_r18_coco8.py',
        'coco8-seg',
        {**EVERYTHING, 'img_size': 96, 'single_class': True, 'repeat_times': 6, 'flip_prob': 0.5},
    ),
}


def train_command(recipe: str, work_dir: str) -> list[str]:
    """Return the command of a recipe's run in the folder ``work_dir``."""
    train = [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / 'configs' / RECIPES[recipe].config)]
    settings = [f'{key}={value}' for key, value in RECIPES[recipe].options.items()]
    return [*train, '--work-dir', work_dir, '--resume', '--cfg-options', *settings]


@dataclass
class Plan:
    """The plan of a run: its name in the table, its recipe, and its disturbances in their order."""

    title: str
    recipe: str
    disturbances: list[Callable[[Trial], None]]


def plan_trials(kills: int, faults: int, seed: int) -> list[Plan]:
    """Share kills and faults out to the recipes; the kills of a recipe happen in one run."""
    drawn: dict[str, list[Callable[[Trial], None]]] = {name: [] for name in RECIPES}
    names = list(RECIPES)
    for i in range(kills):
        rng = random.Random(f'{seed} kill {i}')
        own = drawn[names[i % len(names)]]
        own.append(partial(kill, name=rng.choice(SIGNALS), to_group=rng.random() < 0.5, is_first=not own))
    plans = [Plan(f'{len(own)} kills', name, own) for name, own in drawn.items() if own]
    first = random.Random(f'{seed} faults').randrange(len(names))
    for i in range(faults):
        title = list(FAULTS)[i % len(FAULTS)]
        plans.append(Plan(title, names[(first + i) % len(names)], [FAULTS[title]]))
    return plans


def draw_data(recipes: list[str], root: Path) -> None:
    """Draw the datasets that the recipes read, so that no run's time has it in it."""
    for name in sorted({RECIPES[recipe].data for recipe in recipes}):
        SAMPLE_DATASETS.get(name)(root / 'data' / name, url='')


def run_reference(recipe: str, root: Path) -> Reference:
    """Run a recipe undisturbed, in a folder beside those of the trials."""
    name = f'{recipe}_reference'
    attempt = Attempt(train_command(recipe, name), root / f'{name}.log')
    if attempt.end(900) != 0:
        raise WrongEndError(f'the undisturbed run of {recipe} failed:\n{attempt.text[-3000:]}')
    return Reference(root / name, time.monotonic() - attempt.started, printed_results(attempt.text))


def run_recipe(recipe: str, plans: list[Plan], root: Path, seed: int) -> int:
    """Run a recipe undisturbed, then disturbed; print a line each, and return how many ended differently."""
    reference = run_reference(recipe, root)
    epoch = load_checkpoint(reference.folder / 'last.pth', mmap=True)['meta']['epoch']
    print(f'{recipe:8s} undisturbed: {reference.seconds:.0f} s, {epoch} epochs', flush=True)
    num_wrong = 0
    for number, plan in enumerate(plans):
        trial, wrong = run_trial(plan, f'{recipe}_{number}', reference, root, seed)
        num_wrong += bool(wrong)
        end = f'DIFFERS: {"; ".join(wrong[:5])}{" ..." * (len(wrong) > 5)}' if wrong else 'equal'
        events = '; '.join(trial.events)
        print(f'{recipe:8s} {plan.title:34s} {len(trial.attempts)} attempts  {end}  ({events})', flush=True)
    return num_wrong


def run_trial(plan: Plan, name: str, reference: Reference, root: Path, seed: int) -> tuple[Trial, list[str]]:
    """Disturb a run until it is done; return it, and what is wrong with its end, for which its folder is kept."""
    for scale in (1.0, 0.7, 0.5, 0.35, 0.25):
        rng = random.Random(f'{seed} {plan.recipe} {plan.title}')
        trial = Trial(train_command(plan.recipe, name), root / name, reference, rng, scale=scale)
        try:
            for disturb in plan.disturbances:
                disturb(trial)
            wrong = differences(trial, trial.finish().text)
        except MissedError:
            wrong = None
        except (WrongEndError, CheckpointError) as error:
            wrong = [str(error)]
        for attempt in trial.attempts:
            if attempt.process.poll() is None:
                attempt.signal('SIGKILL', to_group=True)
                attempt.end()
        if not wrong:
            shutil.rmtree(trial.folder, ignore_errors=True)
        if wrong is not None:
            return trial, wrong
    return trial, ['it always ended before it could be disturbed']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=list(RECIPES), default=list(RECIPES), help='these recipes alone')
    parser.add_argument('--kills', type=not_negative, default=20, help='random kills over all recipes')
    parser.add_argument('--faults', type=not_negative, default=len(FAULTS), help='injected faults over all recipes')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=positive, default=2, help='runs at a time')
    parser.add_argument('--folder', type=output_folder, help='where runs and their output are kept (default: nowhere)')
    parser.add_argument('--epochs', type=positive, help="epochs of each run (default: the recipe's)")
    args = parser.parse_args()
    if not args.kills and not args.faults:
        parser.error('--kills and --faults are both 0: there is nothing to try')
    if not sys.platform.startswith('linux'):
        sys.exit(
            'kill_and_resume.py needs Linux: it sets limits of other processes and looks for their workers in /proc'
        )
    if args.epochs is not None:
        for recipe in RECIPES.values():
            recipe.options['max_epochs'] = args.epochs
    root = args.folder.absolute() if args.folder else Path(tempfile.mkdtemp(prefix='kill_and_resume_'))
    root.mkdir(parents=True, exist_ok=True)
    plans = [plan for plan in plan_trials(args.kills, args.faults, args.seed) if plan.recipe in args.only]
    print(f'seed {args.seed}, {sum(len(plan.disturbances) for plan in plans)} kills and faults, in {root}', flush=True)
    draw_data(args.only, root)
    with ThreadPoolExecutor(args.jobs) as pool:
        of_recipe = [[plan for plan in plans if plan.recipe == name] for name in args.only]
        wrong = sum(pool.map(lambda name, own: run_recipe(name, own, root, args.seed), args.only, of_recipe))
    print(f'{len(plans) - wrong} of {len(plans)} disturbed runs ended bit for bit like those that never stopped')
    if not args.folder and not wrong:
        shutil.rmtree(root)
    sys.exit(bool(wrong))


if __name__ == '__main__':
    run(main)
