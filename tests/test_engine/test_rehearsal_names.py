"""Which component of a user's own an error of the rehearsal names where the error lies behind several."""

from types import SimpleNamespace

import pytest
from torch import nn

from detkit.engine.own_components import OwnComponents
from detkit.engine.rehearsal import _Rehearsal
from detkit.registry import BACKBONES, LAYERS
from detkit.utils.errors import ComponentError


@BACKBONES.register_module()
class ZeroBackbone(nn.Module):
    pass


class Inner(nn.Module):
    pass


LAYERS.register_module(name='MyDecoder', module=Inner)


def test_the_last_part_is_named_by_its_name_in_the_config():
    model = dict(backbone=dict(type='ZeroBackbone'), head=dict(type='RTDETRHead', decoder=dict(type='MyDecoder')))
    own = OwnComponents(dict(model=model))
    assert own.names == {ZeroBackbone: 'ZeroBackbone', Inner: 'MyDecoder'}
    rehearsal = _Rehearsal(SimpleNamespace(cfg=dict(model=model), model=nn.Identity()), own)
    with pytest.raises(ComponentError, match='fail behind ZeroBackbone and MyDecoder: RuntimeError: boo') as caught:
        with rehearsal.trying('model'):
            raise RuntimeError('boo')
    assert caught.value.component == 'MyDecoder'
