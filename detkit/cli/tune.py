"""Search the values of a config that give the best validation.

detkit tune yolov8/det_coco --search optim_wrapper.optimizer.weight_decay=1e-5:1e-2:log mosaic_prob=0,0.5,1
detkit tune my_config.py --trials 50 --cfg-options max_epochs=20
detkit tune my_config.py --storage postgresql://user@host/studies

Each trial is a run in a folder below work_dirs/<config name>-tune. Calling it again goes on with the study, from the
last checkpoint of a trial that was stopped; several processes that are started with the same folder, or database,
share it. The search space is that of --search, or the config's search_space.
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, seed, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--device', '--amp', '--cfg-options')
    parser.add_argument(
        '--search',
        nargs='+',
        metavar='KEY=RANGE',
        help='values to search: KEY=LOW:HIGH, KEY=LOW:HIGH:log, KEY=LOW:HIGH:STEP or KEY=VALUE,VALUE; the keys are '
        'those of --cfg-options',
    )
    parser.add_argument('--trials', type=whole(1), help="finished trials of the study (default: the config's, or 20)")
    parser.add_argument(
        '--sampler', choices=['tpe', 'random'], help="how values are drawn (default: the config's, or tpe)"
    )
    parser.add_argument(
        '--pruner',
        choices=['median', 'halving', 'none'],
        help="which trials end early (default: the config's, or median)",
    )
    parser.add_argument('--seed', type=seed, help="seed of the sampler (default: the config's, or 0)")
    parser.add_argument('--work-dir', help='folder of the study (default: work_dirs/<config name>-tune)')
    parser.add_argument(
        '--storage', metavar='URL', help='database that holds the study (default: a journal in its folder)'
    )


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs neither torch nor Optuna.
    from detkit.engine.run_folder import display_path
    from detkit.tuning import read_search_options, tune_config

    given = {'num_trials': args.trials, 'sampler': args.sampler, 'pruner': args.pruner, 'seed': args.seed}
    found = tune_config(
        args.config,
        args.cfg_options,
        read_search_options(args.search) if args.search else None,
        {key: value for key, value in given.items() if value is not None},
        args.work_dir,
        args.storage,
        args.device,
        args.amp,
    )
    folders = [display_path(trial.folder) for trial in found.ranked[:2]]
    print(found.table())
    if folders:
        models = ' '.join(f'{folder}/config.py {folder}/best.pth' for folder in folders)
        print(f'config of the best trial: {display_path(found.folder)}/best.py')
        print(f'compare the best ones: detkit analyze compare {models}')
