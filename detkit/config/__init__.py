"""Reading config files, and refusing what is wrong in them before anything is built."""

from typing import TYPE_CHECKING

from detkit.config.names import config_name, config_names, configs_folder, find_config
from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.config.check import check_config
    from detkit.config.load import load_config, load_config_with_origins
    from detkit.config.locate import located
    from detkit.config.resolve import LoadedConfig, literal_text, origin_of_resolved, origins_of, resolved_text
    from detkit.config.wiring import counts_classes, data_metainfo

# The check needs every registered class, which takes seconds to import; finding a config by its name needs none.
__getattr__ = lazy_names(
    __name__,
    {
        'LoadedConfig': 'resolve',
        'check_config': 'check',
        'counts_classes': 'wiring',
        'data_metainfo': 'wiring',
        'literal_text': 'resolve',
        'load_config': 'load',
        'load_config_with_origins': 'load',
        'located': 'locate',
        'origin_of_resolved': 'resolve',
        'origins_of': 'resolve',
        'resolved_text': 'resolve',
    },
)

__all__ = [
    'LoadedConfig',
    'check_config',
    'config_name',
    'config_names',
    'configs_folder',
    'counts_classes',
    'data_metainfo',
    'find_config',
    'literal_text',
    'load_config',
    'load_config_with_origins',
    'located',
    'origin_of_resolved',
    'origins_of',
    'resolved_text',
]
