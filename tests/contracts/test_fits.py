"""Every head with every assigner, coder and loss: it trains a step, or the config check says why not.

By default every argument of a head meets a part that fits and one that does not, and every kind of part all parts.
"""

import builders
import pytest
import torch
from builders import CONFIGS
from coverings import cover, slow_unless
from small_parts import CHANNELS, SIZE, STRIDES, batch, build_head, head_config, model_config, own_names, texts_of

from detkit.config.check import check_config
from detkit.contracts import protocols_of
from detkit.registry import ASSIGNERS, CODERS, HEADS, LAYERS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError


def registry_of(key: str):
    """The registry of the parts that an argument of a head holds."""
    layers = dict.fromkeys(('transformer', 'position_encoding', 'decoder'), LAYERS)
    return {'assigner': ASSIGNERS, 'one_assigner': ASSIGNERS, 'bbox_coder': CODERS, **layers}.get(key, LOSSES)


PLACES = [(head, key) for head in own_names(HEADS) for key in HEADS.get(head).takes]
PAIRS = [(head, key, part) for head, key in PLACES for part in own_names(registry_of(key))]


def fits(head: str, key: str, part: str) -> bool:
    return HEADS.get(head).takes[key] in protocols_of(registry_of(key).get(part))


def pairs() -> list:
    """All pairs with whether they fit; what a pair shows depends on the argument, and on its kind and the part."""
    cases = [(*pair, fits(*pair)) for pair in PAIRS]
    chosen = cover(cases, lambda case: [(*case[:2], case[3]), (HEADS.get(case[0]).takes[case[1]], *case[2:])])
    return [slow_unless(index in chosen, *case, id='-'.join(case[:3])) for index, case in enumerate(cases)]


def step(head, gt: GtBatch) -> None:
    feats = [
        torch.randn(2, width, SIZE // stride, SIZE // stride) for width, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    preds = head(feats, **texts_of(head))
    losses = {name: value for name, value in head.loss(preds, gt).items() if name.startswith('loss_')}
    assert losses and all(value.ndim == 0 and value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert any(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.default_cases(24)
@pytest.mark.parametrize(('head', 'key', 'part', 'fitting'), pairs())
def test_a_pair_trains_or_is_refused(head, key, part, fitting):
    wanted = HEADS.get(head).takes[key]
    if not fitting:
        with pytest.raises(
            ConfigError,
            match=f'model.head.{key}.type: {head}.{key} must follow {wanted.__name__} .* but {part} (follows|states)',
        ):
            check_config(model_config(head_config(head, **{key: dict(type=part)})))
        with pytest.raises(
            ConfigError, match=f'{head}.{key} must follow {wanted.__name__} .* but {part} (follows|states)'
        ):
            build_head(head, **{key: dict(type=part)})
        return
    check_config(model_config(head_config(head, **{key: dict(type=part)})))
    for counts in ((2, 0), (0, 0)):
        step(build_head(head, **{key: dict(type=part)}), batch(counts))


@pytest.mark.parametrize(('head', 'key'), PLACES)
def test_every_place_has_a_part_that_fits(head, key):
    assert any(fits(*pair) for pair in PAIRS if pair[:2] == (head, key))


@pytest.mark.parametrize('base', [path.stem for path in sorted((CONFIGS / '_base_' / 'models').glob('*.py'))])
def test_a_head_without_a_config_has_the_parts_of_its_base_config(base):
    """A base config writes the parts out, so that options can vary them; the head's own defaults are the same."""
    if base.endswith(('_sizes', '_tuned')):
        pytest.skip('it holds sizes, or weights of losses, only')
    config = dict(builders.model_config(base, 2).head)
    head = HEADS.get(config['type'])
    others = {'decoder'}  # whose numbers are those of a size
    if base.startswith('deim'):
        others.add('loss_cls')  # DEIM is a recipe for two families' heads
    for key in (head.takes.keys() & config.keys()) - others:
        wired = {'reg_max': config['reg_max']} if key == 'bbox_coder' and 'reg_max' in config else {}
        given, default = (registry_of(key).build({**wired, **cfg}) for cfg in (config[key], head.default_parts[key]))
        assert type(given) is type(default) and plain_attributes(given) == plain_attributes(default)


def plain_attributes(part) -> dict:
    return {name: value for name, value in vars(part).items() if isinstance(value, int | float | str | tuple)}


def test_a_part_without_a_protocol_is_told_which_to_write():
    @LOSSES.register_module(force=True)
    class LossOfNoProtocol(torch.nn.Module):
        def forward(self, pred, target):
            return (pred - target).sum()

    head = head_config('YOLOv8Head', loss_bbox=dict(type='LossOfNoProtocol'))
    with pytest.raises(ConfigError, match=r'states no protocol.*write class LossOfNoProtocol\(..., BoxLoss\)'):
        check_config(model_config(head))
    LOSSES.module_dict.pop('LossOfNoProtocol')
