"""Searching the values of a config: the search space, and studies that many processes may share."""

from detkit.utils.errors import MissingPackageError

try:
    import optuna  # noqa: F401
except ImportError as error:
    raise MissingPackageError(f'tuning needs the package optuna ({error}); install it by pip install optuna') from error

from detkit.tuning.space import Parameter, parse_space, read_search_options
from detkit.tuning.study import StudySettings, StudySummary, TrialSummary, tune_config

__all__ = [
    'Parameter',
    'StudySettings',
    'StudySummary',
    'TrialSummary',
    'parse_space',
    'read_search_options',
    'tune_config',
]
