"""The registry of each position of a config that holds a component."""

from dataclasses import dataclass
from typing import Any, Literal

from detkit import registry as registries
from detkit.registry import MODEL_PARTS, Registry, RegistryGroup


@dataclass(frozen=True)
class Position:
    """A position in a config that holds components.

    Attributes:
        registry_name: the name of the registry in ``detkit.registry``.
        default_type: what is built when the config names no type.
        injected: arguments that whoever builds the component adds, so that a config need not give them.
        extra: keys that whoever builds the component takes out before.
        wires: whether channels, strides and class count are filled in.
        holds_dict: whether a dict without ``type`` holds components by name.
        tried: the package whose components are built once by the check, which costs nothing, so that what their
            constructors refuse is an error of the config; empty for none.
    """

    registry_name: str
    default_type: str | None = None
    injected: frozenset[str] = frozenset()
    extra: tuple[str, ...] = ()
    wires: bool = False
    holds_dict: bool = False
    tried: str = ''

    def registry(self) -> Registry | RegistryGroup:
        return getattr(registries, self.registry_name)

    @property
    def below(self) -> 'Position':
        """The position of components among the arguments, unless their key says otherwise."""
        name = 'MODEL_PARTS' if self.registry() in MODEL_PARTS.registries else self.registry_name
        return Position(name, injected=self.injected, wires=self.wires, tried=self.tried)


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


_LOOP = _names('runner', 'dataloader', 'evaluator')
_PRIORS = Position('PRIOR_GENERATORS', wires=True, tried='detkit.')
_LAYER = Position('LAYERS', wires=True)
_BACKEND = Position('VISBACKENDS', injected=_names('save_dir'))

TOP_POSITIONS: dict[str, Position] = {
    'model': Position('DETECTORS', wires=True),
    'val_evaluator': Position('METRICS', tried='detkit.'),
    'test_evaluator': Position('METRICS', tried='detkit.'),
    'train_cfg': Position('LOOPS', 'TrainLoop', _LOOP),
    'val_cfg': Position('LOOPS', 'ValLoop', _LOOP),
    'test_cfg': Position('LOOPS', 'TestLoop', _LOOP),
    'optim_wrapper': Position('OPTIM_WRAPPERS', 'AccumulatingOptimWrapper', extra=('constructor', 'paramwise_cfg')),
    'param_scheduler': Position(
        'PARAM_SCHEDULERS', None, _names('optimizer'), ('convert_to_iter_based',), tried='detkit.'
    ),
    'default_hooks': Position('HOOKS', extra=('priority',), holds_dict=True, tried='detkit.'),
    'custom_hooks': Position('HOOKS', extra=('priority',), tried='detkit.'),
    'visualizer': Position('VISUALIZERS'),
}

CONSTRUCTOR = Position('OPTIM_WRAPPER_CONSTRUCTORS', 'GroupOptimConstructor', tried='detkit.')

# Arguments whose names begin with "loss_" hold losses.
LOSS = Position('LOSSES', tried='detkit.')

CHILD_POSITIONS: dict[str, Position] = {
    'data_preprocessor': Position('DATA_PREPROCESSORS', wires=True),
    'backbone': Position('BACKBONES', wires=True),
    'neck': Position('NECKS', wires=True),
    'spp': Position('NECKS', wires=True),
    'head': Position('HEADS', wires=True),
    'rpn_head': Position('HEADS', injected=_names('feat_channels'), wires=True),
    **dict.fromkeys(('bbox_head', 'mask_head'), Position('ROI_HEADS', wires=True)),
    'keypoint_head': Position('ROI_HEADS', injected=_names('keypoint_shape'), wires=True),
    'roi_extractor': Position('ROI_EXTRACTORS', wires=True),
    'transformer': _LAYER,
    'position_encoding': Position('LAYERS', injected=_names('embed_dims'), wires=True),
    'decoder': Position('LAYERS', injected=_names('num_levels', 'rotated'), wires=True),
    'assigner': Position('ASSIGNERS', wires=True, tried='detkit.'),
    'one_assigner': Position('ASSIGNERS', wires=True, tried='detkit.'),
    'match_costs': Position('MATCH_COSTS', tried='detkit.'),
    'prior_sampler': Position('PRIOR_SAMPLERS', tried='detkit.'),
    'bbox_coder': Position('CODERS', wires=True, tried='detkit.'),
    'prior': _PRIORS,
    'prior_generator': _PRIORS,
    'text_encoder': Position('TEXT_ENCODERS', tried='detkit.'),
    'init_cfg': Position('WEIGHT_INITIALIZERS'),
    'block': Position('LAYERS', injected=_names('in_channels', 'out_channels', 'num_blocks', 'text_dims')),
    'downsample': Position('LAYERS', injected=_names('in_channels', 'out_channels')),
    'optimizer': Position('OPTIMIZERS', injected=_names('params'), tried='torch.optim.'),
    'dataset': Position('DATASETS'),
    'datasets': Position('DATASETS'),
    'pipeline': Position('TRANSFORMS', tried='detkit.'),
    'transforms': Position('TRANSFORMS', tried='detkit.'),
    'sampler': Position('DATA_SAMPLERS', injected=_names('dataset', 'batch_size', 'drop_last', 'seed')),
    'collate_fn': Position('FUNCTIONS', injected=_names('samples', 'batch', 'data_batch')),
    'vis_backends': _BACKEND,
}

# The type of each, where it is a plain value.
DATALOADER_KEYS = {
    'dataset': Any,
    'batch_size': int,
    'num_workers': int | None,
    'sampler': Any,
    'collate_fn': Any,
    'persistent_workers': bool | None,
    'pin_memory': bool | None,
    'drop_last': bool,
    'prefetch_factor': int | None,
    'timeout': float,
    'render_on': Literal['workers', 'device'],
}
