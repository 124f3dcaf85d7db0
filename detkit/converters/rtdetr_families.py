"""``Family``: models of one name whose files have the same layouts: RT-DETR, D-FINE, DEIM."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Models that are described by the configs of one folder.

    Attributes:
        name: the name for people.
        key: the folder of the configs, and the name of the command.
        files: the config of each network: 'rtdetr', 'rtdetrv2', 'dfine'.
        model_types: what ``config.json`` of the Hub calls them.
        score_thr: the lowest score that the authors' prediction shows.
        act: the activation of the decoder, for people.
    """

    name: str
    key: str
    files: Mapping[str, str]
    model_types: tuple[str, ...]
    score_thr: float
    act: str = 'ReLU'


RTDETR = Family(
    'RT-DETR', 'rtdetr', dict(rtdetr='det_coco.py', rtdetrv2='det_v2_coco.py'), ('rt_detr', 'rt_detr_v2'), 0.6
)
DFINE = Family('D-FINE', 'dfine', dict(dfine='det_coco.py'), ('d_fine',), 0.4)
# Its files have the names of the other two. Its networks have another activation, which no weights show, and that on
# RT-DETR a layer more in the MLP of positions.
DEIM = Family('DEIM', 'deim', dict(dfine='det_coco.py', rtdetrv2='det_rtdetrv2_coco.py'), (), 0.4, 'SiLU')
FAMILIES = {family.key: family for family in (RTDETR, DFINE, DEIM)}


def has_more_positions(names: Container[str]) -> bool:
    """Return whether a file of RT-DETR's authors has three layers in its MLP of positions, as DEIM's have."""
    return 'decoder.query_pos_head.layers.2.weight' in names
