"""The keys that mean something at a config's top level, and the checks that need no component."""

from pathlib import Path
from typing import Any

from detkit.config.execute import Executed
from detkit.utils.errors import ConfigError, nearest

# What the runner reads. Any other top-level name is a variable for the files' own use.
TOP_LEVEL_KEYS = (
    'task',
    'classes',
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'val_evaluator',
    'test_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'default_hooks',
    'custom_hooks',
    'custom_imports',
    'data_preprocessor',
    'load_from',
    'resume',
    'launcher',
    'env_cfg',
    'log_processor',
    'log_level',
    'visualizer',
    'vis_backends',
    'default_scope',
    'randomness',
    'work_dir',
    'experiment_name',
    'runner_type',
    'device',
    'find_unused_parameters',
    'log_to',
)

_PIPELINES = {
    'train_pipeline': ('train_dataloader',),
    'val_pipeline': ('val_dataloader',),
    'test_pipeline': ('val_dataloader', 'test_dataloader'),
}


def check_top_level(executed: Executed, path: Path) -> None:
    """Refuse names that look like a mistyped key, and pipelines that no data loader uses.

    Raises:
        ConfigError: names the file and line of the name.
    """
    values = executed.values
    refuse_foreign_scope(values.get('default_scope'), f'{executed.origins.find(("default_scope",))}: ')
    known = [*TOP_LEVEL_KEYS, *_PIPELINES]
    for name in values.keys() - set(known) - executed.read:
        # Only a name that nothing reads can be a slip of the pen: a variable in use has its reader.
        hint = nearest(name, [*known, *executed.read & executed.assigned], cutoff=0.8)
        if hint:
            raise ConfigError(
                f'{executed.origins.find((name,))}: {name} is no key that the runner knows, and no file '
                f'of this config reads it.{hint}'
            )
    for name, loaders in _PIPELINES.items():
        if name not in values:
            continue
        used = [pipeline for loader in loaders for pipeline in pipelines_in(values.get(loader))]
        if used and values[name] not in used:
            raise ConfigError(
                f'{executed.origins.find((name,))}: {name} is defined, but {loaders[0]} uses another pipeline '
                f'({executed.origins.find((loaders[0], "dataset", "pipeline"))}); write '
                f'{loaders[0]} = dict(dataset=dict(pipeline={name})) in {path.name}'
            )


def refuse_foreign_scope(scope: Any, where: str = '') -> None:
    """Refuse a ``default_scope`` of another package: mmengine would import that package's registry.

    Raises:
        ConfigError: begins with ``where``.
    """
    if scope not in (None, 'detkit'):
        raise ConfigError(f"{where}default_scope is {scope!r}, but must be 'detkit'; leave it out")


def pipelines_in(loader: Any) -> list[list]:
    """The pipelines of all datasets of a data loader, wrapped ones included."""
    if isinstance(loader, list | tuple):
        return [pipeline for item in loader for pipeline in pipelines_in(item)]
    if not isinstance(loader, dict):
        return []
    found = [loader['pipeline']] if 'pipeline' in loader else []
    return found + [pipeline for key in ('dataset', 'datasets') for pipeline in pipelines_in(loader.get(key))]


def datasets_in(loader: Any) -> list[dict]:
    """The configs of all datasets of a data loader that wrap no other one."""
    if isinstance(loader, list | tuple):
        return [dataset for item in loader for dataset in datasets_in(item)]
    if not isinstance(loader, dict):
        return []
    inner = [dataset for key in ('dataset', 'datasets') for dataset in datasets_in(loader.get(key))]
    return inner or ([loader] if 'type' in loader and 'batch_size' not in loader else [])
