"""The registries: names in a config file -> classes.

There is one for each kind of part. Those of models hold detkit's and the user's parts; the others are children of
mmengine's registries, so that mmengine's own components (schedulers, visualiser backends, ...) are found too.
``locations`` of a registry are the rooms whose ``__all__`` names its components, and modules that register some. A
look-up imports the file of the component that it names, no others.
"""

import inspect
import pydoc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.utils import ManagerMixin

from detkit.utils.errors import ComponentError, ConfigError, nearest, reason_of

__all__ = [
    'Registry',
    'RegistryGroup',
    'ASSIGNERS',
    'BACKBONES',
    'CODERS',
    'DATA_PREPROCESSORS',
    'DETECTORS',
    'HEADS',
    'LAYERS',
    'LOSSES',
    'MATCH_COSTS',
    'MODEL_PARTS',
    'NECKS',
    'PRIOR_GENERATORS',
    'WEIGHT_INITIALIZERS',
    'is_own',
    'refuse_unregistered',
    'DATASETS',
    'DATA_SAMPLERS',
    'EXPORTED_MODELS',
    'EXPORT_FORMATS',
    'FUNCTIONS',
    'HOOKS',
    'IMAGE_READERS',
    'LOG_PROCESSORS',
    'LOOPS',
    'METRICS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'RUNNERS',
    'SAMPLE_DATASETS',
    'TEXT_ENCODERS',
    'TRACKERS',
    'TRANSFORMS',
    'VISBACKENDS',
    'VISUALIZERS',
    'WEIGHTS_BY_NAME',
    'backend_names',
    'no_such_part',
    'package_of',
]


_REGISTRIES: list['Registry'] = []
# The packages that a component's name may be prefixed with ("mmengine.EMAHook").
_SCOPES = ('detkit', 'mmengine')
# The packages whose components are no user's own.
_PACKAGES = ('detkit', 'mmengine', 'torch', 'torchvision')


class Registry(mmengine_registry.Registry):
    """A registry that finds what is registered, and nothing else.

    mmengine's registry imports any dotted name that it is asked for, and the ``registry`` module of any scope. A config
    may be the text that a stranger's checkpoint holds, so here a name that is not registered is an error, and nothing
    is imported because of it.

    Args:
        name: the noun for what is registered.
        base: dotted name of the class that detkit gives a user's own components of this kind to extend; '' for none.
        foreign: the package of mmengine that registers the parent's components. It is imported when a name is neither
            detkit's nor the user's own, since several of these packages take a second.
    """

    def __init__(self, name: str, base: str = '', foreign: str = '', **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._base = base
        self._foreign = foreign
        _REGISTRIES.append(self)

    @property
    def base(self) -> Any:
        """The class that a user's own components of this kind extend, imported when it is first asked for."""
        return pydoc.locate(self._base)

    def _register_module(
        self, module: Any, module_name: str | Sequence[str] | None = None, force: bool = False
    ) -> None:
        """Register a class or function; mmengine's decorator ends here.

        Raises:
            ConfigError: a user's own component has a name that is taken, and ``force`` does not replace it.
        """
        if is_own(module):
            names = [module_name] if isinstance(module_name, str) else module_name or [module.__name__]
            # detkit's own names are taken first, whoever is imported first
            taken = [name for name in names if self.find_own(name) is not None and not force]
            if taken:
                raise ConfigError(
                    f'{_defined_at(module)} registers the {self.name} {taken[0]!r}, but '
                    f'{_defined_at(self.module_dict[taken[0]])} is registered under that name already. Rename the '
                    f'class, or write register_module(force=True) to replace the other one'
                )
        super()._register_module(module, module_name, force)

    def get(self, key: str) -> Any:
        """Return the class or function registered as ``key`` here or in mmengine, or None."""
        if not isinstance(key, str):
            raise TypeError(f'a {self.name} is looked up by its name, found {key!r}')
        scope, _, name = key.rpartition('.')
        found = self.find_own(name) if scope in ('', self.scope) else None
        parent = self.parent
        if found is None and parent is not None and scope in ('', parent.scope):
            found = parent.module_dict.get(name)
            if found is None and self._foreign:
                import_module(self._foreign)
                found = parent.module_dict.get(name)
        return found

    def has_imported(self, name: str) -> bool:
        """Return whether a name is registered here or in mmengine by what has been imported so far."""
        return name in self.module_dict or (self.parent is not None and name in self.parent.module_dict)

    def find_own(self, name: str) -> Any:
        """Return the class or function registered under a name here, or None; only its file is imported."""
        for location in self._locations:
            if name in self.module_dict:
                break
            room = import_module(location)
            if name in getattr(room, '__all__', ()):
                getattr(room, name)  # which imports the file that registers it
        return self.module_dict.get(name)

    def import_from_location(self) -> None:
        """Import every file that registers a component, those of mmengine included."""
        if self._imported:
            return
        for location in self._locations:
            room = import_module(location)
            for name in getattr(room, '__all__', ()):
                getattr(room, name)
        if self._foreign:
            import_module(self._foreign)
        self._imported = True

    def names(self) -> list[str]:
        """Return the registered names, those of mmengine included."""
        self.import_from_location()
        return list(dict.fromkeys([*self.module_dict, *(self.parent.module_dict if self.parent is not None else ())]))

    def build(self, cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> Any:
        """Build the component that ``cfg`` describes: ``type`` names it, the other keys are its arguments.

        Args:
            cfg: the component's config; ``type`` is a registered name, or a class or function.
            default_args: arguments that ``cfg`` may replace.

        Raises:
            ConfigError: ``cfg`` has no ``type``, or ``cfg`` or a dict inside it names what is not registered.
            ComponentError: the constructor refused an argument.
        """
        if not isinstance(cfg, Mapping):
            raise ConfigError(f'a {self.name} is built from a dict with a type, found {cfg!r}')
        arguments = {**(default_args or {}), **cfg}
        refuse_unregistered(arguments)
        kind = arguments.pop('type', None)
        factory = kind if callable(kind) else self.get(kind) if isinstance(kind, str) else None
        if factory is None:
            raise ConfigError(f'{no_such_part(self.name, kind)}{nearest(kind, self.names())}')
        arguments.pop('_scope_', None)
        is_managed = inspect.isclass(factory) and issubclass(factory, ManagerMixin)
        try:
            return factory.get_instance(**arguments) if is_managed else factory(**arguments)
        except ComponentError as error:  # of a component inside this one
            error.owners.append((str(kind), arguments))
            raise
        except ConfigError as error:
            raise ComponentError(str(error), str(kind), arguments) from error
        except _REFUSALS as error:
            title = getattr(factory, '__name__', str(kind))
            raise ComponentError(f'{title} cannot be built: {_reason(error, factory)}', str(kind), arguments) from error


# The errors that constructors raise for an argument that they cannot use.
_REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _reason(error: Exception, factory: Any) -> str:
    """Return an error's text, with the line that raised it unless the error is a plain ``ValueError``."""
    if type(error) is ValueError and str(error):
        return str(error)
    return reason_of(error, {package_of(factory)} if is_own(factory) else ())


def is_own(part: Any) -> bool:
    """Return whether a component is a user's own, and not one of detkit, mmengine or torch."""
    return package_of(part) not in ('', *_PACKAGES)


def package_of(part: Any) -> str:
    """Return the top-level package or module that defines a class or function; '' for what states none."""
    return str(getattr(part, '__module__', None) or '').partition('.')[0]


def _defined_at(part: Any) -> str:
    """Return the file and line of a component's definition, or its module where there is no source."""
    try:
        return f'{inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}'
    except (OSError, TypeError):
        return str(part.__module__)


@dataclass(frozen=True)
class RegistryGroup:
    """Several registries, searched in order.

    Attributes:
        name: the noun for what is registered in any of them.
        registries: the registries.
    """

    name: str
    registries: tuple[Registry, ...]

    def get(self, key: str) -> Any:
        """Return the class or function registered as ``key`` in the first registry that has it, or None."""
        return next((found for registry in self.registries if (found := registry.get(key)) is not None), None)

    def names(self) -> list[str]:
        """Return the names registered in any of the registries."""
        return list(dict.fromkeys(name for registry in self.registries for name in registry.names()))


def no_such_part(kind: str, name: Any) -> str:
    """Return the sentence for a name that is not registered where it is looked up, with the kinds that it is one of."""
    others = [registry.name for registry in _REGISTRIES if isinstance(name, str) and registry.get(name) is not None]
    found = f'; there is a {" and a ".join(others)} of that name' if others else ''
    return f'there is no {kind} {name!r}{found}.'


def refuse_unregistered(value: Any, path: str = '') -> None:
    """Refuse every ``type`` at any depth that is not a registered name, and every foreign ``_scope_``.

    mmengine builds some parts of a config with registries of its own, which import what they are asked for; so a config
    is searched as a whole before any part of it is built.

    Args:
        value: a config or a part of it.
        path: its dotted key, for the error.

    Raises:
        ConfigError: names the key and what stands there.
    """
    if isinstance(value, Mapping):
        kind = value.get('type')
        if isinstance(kind, str) and not _is_registered(kind):
            raise ConfigError(
                f'{path or "config"}: there is no component {kind!r} in any registry. A config names registered '
                'components only; to use a class of your own, register it in a module that custom_imports names'
            )
        scope = value.get('_scope_')
        if scope is not None and scope not in _SCOPES:
            raise ConfigError(f'{path or "config"}: _scope_ is {scope!r}, but must be one of {", ".join(_SCOPES)}')
        for key, item in value.items():
            refuse_unregistered(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            refuse_unregistered(item, f'{path}.{index}' if path else str(index))


def _is_registered(name: str) -> bool:
    # In the order of what a search in vain imports: nothing, the rooms of a registry, packages of mmengine.
    return (
        any(registry.has_imported(name) for registry in _REGISTRIES)
        or any(registry.find_own(name) is not None for registry in _REGISTRIES)
        or any(registry.get(name) is not None for registry in _REGISTRIES)
    )


def _of_models(name: str, *locations: str, base: str = '') -> Registry:
    return Registry(name, base, scope='detkit', locations=[f'detkit.models.{location}' for location in locations])


def _child(name: str, parent: str, *locations: str, base: str = '') -> Registry:
    foreign, parent_registry = f'mmengine.{_FOREIGN[parent]}', getattr(mmengine_registry, parent)
    return Registry(name, base, foreign, parent=parent_registry, scope='detkit', locations=list(locations))


# The package of mmengine that registers the components of each of its registries.
_FOREIGN = {
    **dict.fromkeys(('DATASETS', 'DATA_SAMPLERS', 'FUNCTIONS', 'TRANSFORMS'), 'dataset'),
    **dict.fromkeys(('LOG_PROCESSORS', 'LOOPS', 'RUNNERS'), 'runner'),
    **dict.fromkeys(('OPTIMIZERS', 'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS'), 'optim'),
    **dict.fromkeys(('VISBACKENDS', 'VISUALIZERS'), 'visualization'),
    'HOOKS': 'hooks',
    'METRICS': 'evaluator',
    'WEIGHT_INITIALIZERS': 'model',
}


DETECTORS = _of_models('detector', 'detectors', base='detkit.models.detectors.base_detector.BaseDetector')
DATA_PREPROCESSORS = _of_models('data preprocessor', 'data_preprocessor')
BACKBONES = _of_models('backbone', 'backbones')
NECKS = _of_models('neck', 'necks')
HEADS = _of_models('head', 'heads', base='detkit.models.heads.base_head.BaseHead')
ROI_HEADS = _of_models('RoI head', 'roi_heads', base='detkit.models.roi_heads.base_roi_head.BaseRoIHead')
ROI_EXTRACTORS = _of_models('RoI extractor', 'roi_heads')
LAYERS = _of_models('layer', 'layers', 'layers.conv_module')
LOSSES = _of_models('loss', 'losses')
ASSIGNERS = _of_models('assigner', 'assigners')
MATCH_COSTS = _of_models('match cost', 'assigners')
PRIOR_SAMPLERS = _of_models('prior sampler', 'assigners')
CODERS = _of_models('coder', 'coders')
PRIOR_GENERATORS = _of_models('prior generator', 'priors')
TEXT_ENCODERS = _of_models('text encoder', 'text_encoders')
# Where a config's key does not say the kind, as for an argument of a user's own detector.
MODEL_PARTS = RegistryGroup(
    'part of a model',
    (
        DETECTORS,
        DATA_PREPROCESSORS,
        BACKBONES,
        NECKS,
        HEADS,
        ROI_HEADS,
        ROI_EXTRACTORS,
        LAYERS,
        LOSSES,
        ASSIGNERS,
        MATCH_COSTS,
        PRIOR_SAMPLERS,
        CODERS,
        PRIOR_GENERATORS,
        TEXT_ENCODERS,
    ),
)

DATASETS = _child('dataset', 'DATASETS', 'detkit.datasets')
DATA_SAMPLERS = _child('data sampler', 'DATA_SAMPLERS', 'detkit.datasets', base='detkit.datasets.samplers.EpochSampler')
TRANSFORMS = _child('transform', 'TRANSFORMS', 'detkit.datasets.transforms')
# Functions of a folder that make a sample dataset there.
SAMPLE_DATASETS = Registry('sample dataset', scope='detkit', locations=['detkit.sample_data'])
# Functions of the name of published weights that return their file.
WEIGHTS_BY_NAME = Registry('function of named weights', scope='detkit', locations=['detkit.zoo.weights'])
# Functions that read images that are no files, by the scheme of their names ('tar' of 'tar://photos.tar/a.jpg').
IMAGE_READERS = Registry('image reader', scope='detkit')
# Algorithms that follow objects from frame to frame.
TRACKERS = Registry('tracker', scope='detkit', locations=['detkit.inference.trackers'])
# The formats of exported files, and the functions that open one, and run a checkpoint by another runtime.
EXPORT_FORMATS = Registry('export format', scope='detkit', locations=['detkit.export.formats'])
EXPORTED_MODELS = Registry(
    'function of exported models', scope='detkit', locations=['detkit.export.opening', 'detkit.export.runtimes']
)
FUNCTIONS = _child('function', 'FUNCTIONS', 'detkit.datasets.collate')

WEIGHT_INITIALIZERS = _child('weight initializer', 'WEIGHT_INITIALIZERS')

RUNNERS = _child('runner', 'RUNNERS', 'detkit.engine')
LOOPS = _child('loop', 'LOOPS', 'detkit.engine', 'detkit.inference.view_test_loop')
HOOKS = _child('hook', 'HOOKS', 'detkit.engine.hooks', 'detkit.analysis.hooks', base='detkit.engine.hooks.Hook')
OPTIMIZERS = _child('optimizer', 'OPTIMIZERS', 'detkit.engine.optim_constructor', 'detkit.engine.mu_sgd')
OPTIM_WRAPPERS = _child('optim wrapper', 'OPTIM_WRAPPERS', 'detkit.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optim wrapper constructor', 'OPTIM_WRAPPER_CONSTRUCTORS', 'detkit.engine')
PARAM_SCHEDULERS = _child(
    'parameter scheduler', 'PARAM_SCHEDULERS', 'detkit.engine', base='detkit.engine.schedule.WarmupDecay'
)
LOG_PROCESSORS = _child('log processor', 'LOG_PROCESSORS')

METRICS = _child('metric', 'METRICS', 'detkit.evaluation', base='detkit.evaluation.gathered_metric.GatheredMetric')
VISUALIZERS = _child('visualizer', 'VISUALIZERS')
VISBACKENDS = _child('vis backend', 'VISBACKENDS', 'detkit.engine.scalar_log')


def backend_names() -> dict[str, str]:
    """Return the short names that a config's ``log_to`` accepts: ``{'tensorboard': 'TensorBoardBackend'}``."""
    VISBACKENDS.import_from_location()
    names = [*mmengine_registry.VISBACKENDS.module_dict, *VISBACKENDS.module_dict]  # ours replace mmengine's
    return {name.removesuffix('Backend').removesuffix('Vis').lower(): name for name in names}
