"""The registries: names in a config file -> classes.

Each registry is a child of mmengine's of the same name, so that mmengine's own components (schedulers,
visualiser backends, ...) are found too. ``locations`` are imported at the first look-up, which keeps
``import detkit`` cheap.
"""

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

__all__ = [
    'DATASETS', 'DATA_SAMPLERS', 'FUNCTIONS', 'HOOKS', 'LOG_PROCESSORS', 'LOOPS', 'METRICS', 'MODELS',
    'OPTIMIZERS', 'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS', 'RUNNERS', 'TASK_UTILS',
    'TRANSFORMS', 'VISBACKENDS', 'VISUALIZERS', 'backend_names',
]


def _child(name: str, parent: str, *locations: str) -> Registry:
    return Registry(name, parent=getattr(mmengine_registry, parent), scope='detkit', locations=list(locations))


# Networks and everything that is part of one: detectors, backbones, necks, heads, losses, preprocessors.
MODELS = _child('model', 'MODELS', 'detkit.models')
# Parts of a head that hold no parameters: assigners, coders, prior generators.
TASK_UTILS = _child('task util', 'TASK_UTILS', 'detkit.models')

DATASETS = _child('dataset', 'DATASETS', 'detkit.datasets')
DATA_SAMPLERS = _child('data sampler', 'DATA_SAMPLERS', 'detkit.datasets')
TRANSFORMS = _child('transform', 'TRANSFORMS', 'detkit.datasets')
FUNCTIONS = _child('function', 'FUNCTIONS', 'detkit.datasets')

RUNNERS = _child('runner', 'RUNNERS', 'detkit.engine')
LOOPS = _child('loop', 'LOOPS', 'detkit.engine')
HOOKS = _child('hook', 'HOOKS', 'detkit.engine', 'detkit.visualization')
OPTIMIZERS = _child('optimizer', 'OPTIMIZERS', 'detkit.engine')
OPTIM_WRAPPERS = _child('optim wrapper', 'OPTIM_WRAPPERS', 'detkit.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optim wrapper constructor', 'OPTIM_WRAPPER_CONSTRUCTORS', 'detkit.engine')
PARAM_SCHEDULERS = _child('parameter scheduler', 'PARAM_SCHEDULERS', 'detkit.engine')
LOG_PROCESSORS = _child('log processor', 'LOG_PROCESSORS', 'detkit.engine')

METRICS = _child('metric', 'METRICS', 'detkit.evaluation')
VISUALIZERS = _child('visualizer', 'VISUALIZERS', 'detkit.visualization')
VISBACKENDS = _child('vis backend', 'VISBACKENDS', 'detkit.visualization')


def backend_names() -> dict[str, str]:
    """What a config's ``log_to`` may call each visualiser backend: ``'tensorboard' -> 'TensorBoardBackend'``."""
    VISBACKENDS.import_from_location()
    names = [*mmengine_registry.VISBACKENDS.module_dict, *VISBACKENDS.module_dict]  # ours replace mmengine's
    return {name.removesuffix('Backend').removesuffix('Vis').lower(): name for name in names}
