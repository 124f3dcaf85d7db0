"""``MLPClassifyHead``, and the weather classifiers that are made of it."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.nn import functional as F

from detkit.engine.model_cost import count_parameters
from detkit.registry import DETECTORS, HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

BASE = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'yolov5_cls.py'


def head(**options):
    return HEADS.build(dict(type='MLPClassifyHead', num_classes=3, in_channels=(4, 6), **options))


def feats(side: int | tuple[int, int], count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """The finer map is none of the head's business."""
    height, width = (side, side) if isinstance(side, int) else side
    generator = torch.Generator().manual_seed(0)
    return torch.full((count, 4, 2 * height, 2 * width), torch.nan), torch.randn(
        count, 6, height, width, generator=generator
    )


def classes(*labels: int) -> GtBatch:
    count = len(labels)
    return GtBatch(
        labels=torch.zeros(count, 0, dtype=torch.int64),
        bboxes=torch.zeros(count, 0, 4),
        valid=torch.zeros(count, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.full((count, 2), 32),
        class_labels=torch.tensor(labels),
    )


def weather_model(**options):
    model = Config.fromfile(BASE).model
    model.head.update(num_classes=4, **options)
    return DETECTORS.build(model)


def test_weather_classifiers_have_the_published_size():
    model = weather_model()
    assert count_parameters(model) == 21_729_592
    assert count_parameters(model.head) == 65_536 * 100 + 100 + 100 * 4 + 4
    with torch.no_grad():
        assert [tuple(feat.shape) for feat in model.extract_feat(torch.zeros(1, 3, 224, 224))] == [(1, 1024, 8, 8)]
    pooled = weather_model(pool_size=1, hidden_channels=())
    assert count_parameters(pooled) == 21_729_592 - count_parameters(model.head) + 1024 * 4 + 4


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_cells_reach_the_layers_in_the_order_of_the_map(layout):
    mlp = head(pool_size=(2, 3), hidden_channels=(5, 7)).double()
    fine, coarse = (feat.double() for feat in feats((2, 3)))
    got = mlp((fine, coarse.contiguous(memory_format=layout)))['cls_logits']
    x = torch.stack([image.reshape(-1) for image in coarse])
    for layer in (mlp.hidden[0], mlp.hidden[2]):
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(got, x @ mlp.fc_cls.weight.T + mlp.fc_cls.bias)


def test_maps_of_another_size_are_pooled():
    mlp = head(pool_size=2, hidden_channels=(5,))
    fine, coarse = feats(4)
    halved = (fine, F.avg_pool2d(coarse, 2))
    torch.testing.assert_close(mlp((fine, coarse))['cls_logits'], mlp(halved)['cls_logits'])
    for side in (1, (3, 5)):
        assert mlp(feats(side))['cls_logits'].shape == (2, 3)


def test_by_default_it_is_the_mean_over_all_positions():
    pooled = head()
    maps = feats((3, 5))
    assert not len(pooled.hidden)
    torch.testing.assert_close(pooled(maps)['cls_logits'], pooled.fc_cls(maps[1].mean((2, 3))))


def test_loss_and_share_of_right_answers():
    mlp = head(pool_size=2, hidden_channels=(5,), loss_cls=dict(type='CrossEntropyLoss', label_smoothing=0.1))
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 1], [0, 1, 2], [0, 0, 5]], requires_grad=True)
    losses = mlp.loss(dict(cls_logits=logits), classes(0, 1, 1, 0))
    assert list(losses) == ['loss_cls', 'top1'] and losses['top1'] == 0.5 and not losses['top1'].requires_grad
    assert losses['loss_cls'].item() == pytest.approx(
        F.cross_entropy(logits, torch.tensor([0, 1, 1, 0]), label_smoothing=0.1).item()
    )
    losses = mlp.loss(mlp(feats(2)), classes(0, 2))
    losses['loss_cls'].backward()
    assert all(param.grad is not None and param.grad.isfinite().all() for param in mlp.parameters())


def test_the_last_layer_s_input_is_dropped_in_training_alone():
    mlp = head(hidden_channels=(64,), dropout=0.5)
    maps = feats(1, 1)
    mlp.eval()
    assert torch.equal(*(mlp(maps)['cls_logits'] for _ in range(2)))
    mlp.train()
    assert not torch.equal(*(mlp(maps)['cls_logits'] for _ in range(2)))


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(pool_size=0), 'pool_size is 0'),
        (dict(pool_size=(2, 2, 2)), r'pool_size is \(2, 2, 2\)'),
        (dict(hidden_channels=(5, 0)), r'hidden_channels \(5, 0\)'),
        (dict(dropout=1.0), 'dropout is 1.0'),
    ],
)
def test_mistakes(options, text):
    with pytest.raises(ConfigError, match=text):
        head(**options)


@pytest.mark.parametrize('side', [2, 7, 8, 9, (5, 16)])
def test_an_exported_graph_pools_as_training_does(side, monkeypatch):
    model = head(pool_size=(4, 8), hidden_channels=(5,)).eval()
    expected = model(feats(side))['cls_logits']
    monkeypatch.setattr(F, 'adaptive_avg_pool2d', None)  # which ONNX has not
    monkeypatch.setattr(torch.onnx, 'is_in_onnx_export', lambda: True)
    torch.testing.assert_close(model(feats(side))['cls_logits'], expected)
