"""Sample datasets that a first command trains on: downloaded, or drawn without a network."""

from functools import partial

from detkit.registry import SAMPLE_DATASETS
from detkit.sample_data.samples import SAMPLES, prepare

__all__ = ['SAMPLES', 'prepare']

for _name in SAMPLES:
    SAMPLE_DATASETS.register_module(name=_name, module=partial(prepare, _name))
