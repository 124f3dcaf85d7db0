"""Reading config files, and refusing what is wrong in them before anything is built."""

from detkit.config.check import check_config
from detkit.config.load import load_config, load_config_with_origins
from detkit.config.locate import located
from detkit.config.resolve import LoadedConfig, literal_text, origins_of, resolved_text
from detkit.config.wiring import counts_classes, data_metainfo

__all__ = [
    'LoadedConfig',
    'check_config',
    'counts_classes',
    'data_metainfo',
    'literal_text',
    'load_config',
    'load_config_with_origins',
    'located',
    'origins_of',
    'resolved_text',
]
