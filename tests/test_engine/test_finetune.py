"""Starting from a checkpoint of other classes."""

import pytest
import torch
from builders import build_model

from detkit.engine import Runner, load_checkpoint, load_weights
from detkit.models.heads import BaseHead
from detkit.registry import HEADS
from detkit.utils.errors import CheckpointError

from .dummy import DummyDetector, dummy_config


def checkpoint_of(model: torch.nn.Module, classes: list[str]) -> dict:
    return {'meta': {'classes': classes}, 'state_dict': model.state_dict()}


def test_classes_of_the_same_name_are_copied():
    old, new = DummyDetector(num_classes=3), DummyDetector(num_classes=2)
    before = new.cls_head.weight.detach().clone()
    report = load_weights(new, checkpoint_of(old, ['cat', 'kite', 'ball']), ['ball', 'dog'])
    assert torch.equal(new.backbone[0].weight, old.backbone[0].weight)
    assert torch.equal(new.backbone[1].running_mean, old.backbone[1].running_mean)
    assert torch.equal(new.cls_head.weight[0], old.cls_head.weight[2])
    assert torch.equal(new.cls_head.bias[0], old.cls_head.bias[2])
    assert torch.equal(new.cls_head.weight[1], before[1])
    assert report.reinitialised == ['cls_head.weight', 'cls_head.bias']
    assert report.copied_classes == ['ball'] and report.partial == report.reinitialised
    assert report.lines() == [
        f'{report.loaded} tensors loaded, 1 class copied by name',
        '1 class not in the checkpoint: dog',
        '2 classes of the checkpoint left out: cat, kite',
        '2 tensors have the rows of these classes, others are initialised anew: cls_head.weight, cls_head.bias',
    ]
    assert report.loaded == len(new.state_dict()) - 2


def test_classes_that_the_checkpoint_writes_otherwise_are_named():
    old, new = DummyDetector(num_classes=3), DummyDetector(num_classes=3)
    before = new.cls_head.weight.detach().clone()
    report = load_weights(new, checkpoint_of(old, ['dog', 'traffic light', 'ball']), ['Dog', 'traffic_light', 'kite'])
    assert torch.equal(new.cls_head.weight, before)
    assert report.like_named == {'Dog': 'dog', 'traffic_light': 'traffic light'}
    assert report.lines()[:3] == [
        f'{report.loaded} tensors loaded, 0 classes copied by name',
        '3 classes not in the checkpoint: Dog, traffic_light, kite; of them, written otherwise than there: '
        "'Dog' for 'dog', 'traffic_light' for 'traffic light'",
        '1 class of the checkpoint left out: ball',
    ]


def test_classes_that_are_left_out_are_listed():
    old, new = DummyDetector(num_classes=3), DummyDetector(num_classes=1)
    report = load_weights(new, checkpoint_of(old, ['N/A', 'cat', 'ball']), ['ball'])
    assert report.left_out == ['cat'] and torch.equal(new.cls_head.weight[0], old.cls_head.weight[2])
    assert report.lines() == [
        f'{report.loaded} tensors loaded, 1 class copied by name',
        '1 class of the checkpoint left out: cat',
    ]
    assert not load_weights(old, checkpoint_of(old, ['dog', 'cat', 'ball']), ['ball', 'cat', 'dog']).left_out


class RowHead(BaseHead):
    class_rows = {'fc': (1, 0, 1)}

    def __init__(self, rows):
        super().__init__()
        self.fc = torch.nn.Linear(2, rows)


def test_the_row_of_no_object_is_copied_too():
    old, new = RowHead(3), RowHead(4)
    before = new.fc.weight.detach().clone()
    report = load_weights(new, checkpoint_of(old, ['cat', 'kite']), ['dog', 'kite', 'ball'])
    assert torch.equal(new.fc.weight[1], old.fc.weight[1])
    assert torch.equal(new.fc.weight[3], old.fc.weight[2])
    assert torch.equal(new.fc.weight[[0, 2]], before[[0, 2]])
    assert report.copied_classes == ['kite'] and report.reinitialised == ['fc.weight', 'fc.bias']


def test_order_of_classes_may_differ():
    old, new = DummyDetector(), DummyDetector()
    report = load_weights(new, checkpoint_of(old, ['kite', 'ball']), ['ball', 'kite'])
    assert torch.equal(new.cls_head.weight, old.cls_head.weight.flip(0))
    assert not report.reinitialised


def test_tensors_that_do_not_fit_are_listed():
    new = DummyDetector(width=4)
    report = load_weights(new, checkpoint_of(DummyDetector(), ['ball', 'kite']), ['ball', 'kite'])
    assert 'backbone.0.weight' in report.reinitialised and 'cls_head.bias' not in report.reinitialised
    assert any('backbone.0.weight' in line for line in report.lines())


def test_missing_tensors_are_an_error_and_others_are_named():
    old = checkpoint_of(DummyDetector(), ['ball', 'kite'])
    weight = old['state_dict'].pop('backbone.0.weight')
    with pytest.raises(CheckpointError, match=r'old\.pth lacks 1 of .*backbone\.0\.weight'):
        load_weights(DummyDetector(), old, ['ball', 'kite'], 'old.pth')
    old['state_dict'].update({'backbone.0.weight': weight, 'extra': weight})
    assert load_weights(DummyDetector(), old, ['ball', 'kite']).unused == ['extra']


class Head(BaseHead):
    added_parts = ('masks',)

    def __init__(self):
        super().__init__()
        self.boxes, self.masks = torch.nn.Linear(2, 2), torch.nn.Linear(2, 3)


def test_parts_that_a_head_adds_may_be_missing_as_a_whole():
    model, old = torch.nn.ModuleDict(dict(head=Head())), torch.nn.ModuleDict(dict(head=Head()))
    checkpoint = checkpoint_of(old, ['a'])
    del checkpoint['state_dict']['head.masks.bias']
    with pytest.raises(CheckpointError, match=r'lacks 1 of .*head\.masks\.bias'):
        load_weights(model, checkpoint, ['a'], 'old.pth')
    del checkpoint['state_dict']['head.masks.weight']
    masks = model['head'].masks.weight.clone()
    report = load_weights(model, checkpoint, ['a'])
    assert report.reinitialised == ['head.masks.weight', 'head.masks.bias'] and report.loaded == 2
    assert torch.equal(model['head'].masks.weight, masks)
    assert torch.equal(model['head'].boxes.weight, old['head'].boxes.weight)


class QueryHead(BaseHead):
    query_tables = {'table': 'groups'}

    def __init__(self, groups, queries, dims=2):
        super().__init__()
        self.groups = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(groups))
        self.table = torch.nn.Embedding(groups * queries, dims)


@pytest.mark.parametrize('new, old', [((2, 3), (2, 5)), ((2, 5), (2, 3)), ((2, 6), (3, 4)), ((1, 4), (4, 1))])
def test_each_group_keeps_its_first_queries(new, old):
    model, other = QueryHead(*new), QueryHead(*old)
    expected = model.table.weight.detach().clone().view(*new, 2)
    groups, queries = min(new[0], old[0]), min(new[1], old[1])
    expected[:groups, :queries] = other.table.weight.view(*old, 2)[:groups, :queries]
    report = load_weights(model, checkpoint_of(other, ['a']), ['a'])
    assert torch.equal(model.table.weight, expected.flatten(0, 1)) and not report.reinitialised
    assert f'the first {queries} of {max(new[1], old[1])} queries' in report.lines()[0]


def test_further_groups_begin_at_random():
    model, other = QueryHead(3, 2), QueryHead(2, 2)
    table = model.table.weight.detach().clone()
    report = load_weights(model, checkpoint_of(other, ['a']), ['a'])
    assert report.reinitialised == ['groups.2.weight', 'groups.2.bias']
    assert torch.equal(model.table.weight, torch.cat((other.table.weight, table[4:])))
    lacking = checkpoint_of(other, ['a'])
    del lacking['state_dict']['groups.1.bias']
    with pytest.raises(CheckpointError, match=r'lacks 1 of .*groups\.1\.bias'):
        load_weights(model, lacking, ['a'])


def test_queries_that_do_not_fit_otherwise_are_listed():
    report = load_weights(QueryHead(2, 3), checkpoint_of(QueryHead(2, 5, dims=4), ['a']), ['a'])
    assert report.reinitialised == ['table.weight'] and report.queries is None


def test_a_run_starts_from_a_checkpoint(tmp_path, capsys):
    Runner(dummy_config(tmp_path / 'a')).train()
    best = tmp_path / 'a' / 'best.pth'
    zero = dict(optimizer=dict(type='SGD', lr=0.0, momentum=0.9), amp=False)
    runner = Runner(
        dummy_config(
            tmp_path / 'b',
            load_from=str(best),
            optim_wrapper=zero,
            param_scheduler=dict(type='WarmupDecay', warmup_epochs=0),
        )
    )
    runner.train()
    last = load_checkpoint(tmp_path / 'b' / 'last.pth')
    assert torch.equal(last['state_dict']['cls_head.weight'], load_checkpoint(best)['state_dict']['cls_head.weight'])
    assert last['loop']['epoch'] == 4
    assert 'tensors loaded' in capsys.readouterr().out


def test_meta_is_enough_to_predict(tmp_path):
    from mmengine.config import Config

    Runner(dummy_config(tmp_path / 'run')).train()
    meta = load_checkpoint(tmp_path / 'run' / 'best.pth')['meta']
    assert (meta['classes'], meta['task'], meta['epoch']) == (['ball', 'kite'], 'det', 4)
    (tmp_path / 'again.py').write_text(meta['config'])
    assert Config.fromfile(tmp_path / 'again.py').model.type == 'DummyDetector'


@pytest.mark.parametrize('classes', [['ball', 'dog', 'cat'], ['ball', 'dog', 'cat', 'bird']])
def test_boxes_of_regions_follow_their_class(classes):
    """Also where both models have as many classes, so that the shapes are equal."""
    old, new = (build_model('mask_rcnn_r18', len(names)) for names in ('abc', classes))
    before = {name: value.clone() for name, value in new.state_dict().items()}
    report = load_weights(new, checkpoint_of(old, ['cat', 'kite', 'ball']), classes)
    assert report.copied_classes == ['cat', 'ball']
    weights = old.state_dict()
    for layer, rows in (('bbox_head.fc_cls', 1), ('bbox_head.fc_bbox', 4), ('mask_head.conv_mask', 1)):
        for kind in ('weight', 'bias'):
            name = f'head.{layer}.{kind}'
            found, expected, random = (
                state[name].unflatten(0, (-1, rows)) for state in (new.state_dict(), weights, before)
            )
            # The first row is that of background.
            assert torch.equal(found[[0, 1, 3]], expected[[0, 3, 1]]), name
            assert torch.equal(found[[2, *range(4, len(found))]], random[[2, *range(4, len(found))]]), name
            assert name in report.reinitialised


@pytest.mark.parametrize('kind', ['YOLOv5Head', 'YOLOv3Head'])
def test_rows_of_anchors_are_copied_by_class(kind):
    heads = [
        HEADS.build(dict(type=kind, num_classes=count, in_channels=(4, 6, 8), strides=(8, 16, 32))) for count in (3, 2)
    ]
    for seed, head in enumerate(heads):
        for conv in head.convs:
            torch.nn.init.normal_(conv.weight, generator=torch.Generator().manual_seed(seed))
    old, new = heads
    rows = new.convs[1].weight.detach().clone().view(3, 7, 6)
    report = load_weights(
        torch.nn.ModuleDict({'head': new}),
        checkpoint_of(torch.nn.ModuleDict({'head': old}), ['cat', 'kite', 'ball']),
        ['dog', 'cat'],
    )
    rows[:, :5], rows[:, 6] = (old.convs[1].weight.view(3, 8, 6)[:, part] for part in (slice(5), 5))
    assert torch.equal(new.convs[1].weight.view(3, 7, 6), rows)
    assert report.copied_classes == ['cat'] and report.loaded == 0
    assert len(report.reinitialised) == 6
