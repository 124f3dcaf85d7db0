"""Reading config files, and refusing what is wrong in them before anything is built."""

from detkit.config.check import check_config
from detkit.config.load import load_config, load_config_with_origins

__all__ = ['check_config', 'load_config', 'load_config_with_origins']
