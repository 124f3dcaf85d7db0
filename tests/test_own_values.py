"""A task of a user's own: values of each object go from a dataset to a head, a metric and a result."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from detkit import Detector, registry
from detkit.datasets import DetDataset
from detkit.datasets.collate import collate, make_gt_batch
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.writers import convert_dataset
from detkit.engine import train_from_config
from detkit.registry import DATASETS, HEADS, IMAGE_READERS, METRICS, TRANSFORMS
from detkit.structures import Annotations, Record
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError

SIZE = 64


def objects(number):
    """Boxes of an image, none in every fourth; depths say which image and object they are."""
    count = number % 4
    corners = np.array([[4 + 14 * i, 6 + 10 * i] for i in range(count)], np.float32).reshape(-1, 2)
    depths = np.array([10 * number + i + 1 for i in range(count)], np.float32)
    return Annotations(
        np.arange(count) % 2,
        np.concatenate([corners, corners + 12], 1),
        values={'depth': depths, 'flags': np.stack([depths > 11, depths < 31], 1) if count else np.zeros((0, 2), bool)},
    )


def draw(name):
    img, own = np.full((SIZE, SIZE, 3), 90, np.uint8), objects(int(name))
    for (x0, y0, x1, y1), depth in zip(own.bboxes.astype(int), own.values['depth'], strict=True):
        img[y0:y1, x0:x1] = int(depth)
    return img


@pytest.fixture(autouse=True)
def parts(monkeypatch, repo):
    """The parts of the documentation, a dataset, and a reader of its images, known to one test alone."""
    for one in registry._REGISTRIES:
        one.names()
        monkeypatch.setattr(one, '_module_dict', dict(one.module_dict))
    page = (repo / 'docs/add_a_component.md').read_text()
    (source,) = (block for block in re.findall(r'```python\n(.*?)```', page, re.DOTALL) if 'class DepthHead' in block)
    exec(source, {'__name__': 'shown'})  # a block of the documentation
    assert HEADS.get('DepthHead') and METRICS.get('DepthError')
    IMAGE_READERS.register_module(name='drawn', module=draw)

    @DATASETS.register_module()
    class DepthDataset(DetDataset):
        @classmethod
        def peek(cls, cfg):
            return {'classes': ('a', 'b'), **super().peek(cfg)}

        def load_records(self):
            self.metainfo.setdefault('classes', ('a', 'b'))
            return [Record(f'drawn://{i}', i, (SIZE, SIZE), objects(i)) for i in range(8)]

    return DepthDataset


STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=SIZE),
    dict(type='Render'),
    dict(type='PackInputs'),
]


def write_config(folder, repo, steps=STEPS, metric="dict(type='DepthError')"):
    text = f"""_base_ = {str(repo / 'configs/yolov8/det_n_coco8.py')!r}
widen_factor = 0.125
train_pipeline = {steps}
val_pipeline = {STEPS}
model = dict(head=dict(type='DepthHead'))
train_dataloader = dict(dataset=dict(_delete_=True, type='DepthDataset', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(_delete_=True, type='DepthDataset', pipeline=val_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = [dict(type='CocoMetric'), {metric}]
test_evaluator = val_evaluator
default_hooks = dict(pictures=None)
"""
    (folder / 'cfg.py').write_text(text)
    return str(folder / 'cfg.py')


OPTIONS = dict(num_workers=0, batch_size=4, max_epochs=1, device='cpu', work_dir='run')


def test_values_stay_with_their_objects(parts):
    mosaic = [
        STEPS[0],
        dict(type='Mosaic', size=SIZE, prob=1.0),
        dict(type='RandomAffine', degrees=0, translate=0.3, scale=0.3, size=SIZE),
        dict(type='RandomFlip', prob=0.5),
        *STEPS[2:],
    ]
    dataset = parts(pipeline=mosaic)
    seen = 0
    for epoch in range(4):
        batch = collate(dataset.__getitems__([SampleKey(0, epoch, i, i) for i in range(8)]))
        gt, images = batch['gt'], batch['inputs']
        assert gt.values['depth'].shape == gt.labels.shape and gt.values['flags'].shape == (*gt.labels.shape, 2)
        assert (gt.values['depth'][~gt.valid] == 0).all() and gt.values['flags'].dtype == torch.bool
        for image, place in gt.valid.nonzero().tolist():
            depth = gt.values['depth'][image, place].item()
            assert gt.values['flags'][image, place].tolist() == [depth > 11, depth < 31]
            x, y = (gt.bboxes[image, place, :2] + gt.bboxes[image, place, 2:]).div(2).long().tolist()
            seen += abs(images[image, 0, y, x].item() - depth) <= 1  # its colour, unless another object covers it
    assert seen > 60


def test_batches_are_padded_divided_and_moved():
    gt = make_gt_batch([objects(0), objects(3), objects(2)], [(SIZE, SIZE)] * 3)
    assert gt.values['depth'].tolist() == [[0, 0, 0], [31, 32, 33], [21, 22, 0]]
    assert gt.padded_to(4).values['flags'].shape == (3, 4, 2) and gt.to('cpu').values['depth'].shape == (3, 3)
    assert gt.select(slice(1, 2)).values['depth'].tolist() == [[31, 32, 33]]
    assert make_gt_batch([objects(0)], [(SIZE, SIZE)]).values['depth'].shape == (1, 0)
    without = replace(objects(2), values={})
    with pytest.raises(ConfigError, match="2 of 5 objects have no 'depth'; a dataset gives each object of each image"):
        make_gt_batch([objects(3), without], [(SIZE, SIZE)] * 2)
    assert make_gt_batch([objects(3), Annotations()], [(SIZE, SIZE)] * 2).values['depth'].shape == (2, 3)
    with pytest.raises(ValueError, match=r"Annotations.values\['depth'\] has 3 rows for 2 labels"):
        replace(objects(2), values={'depth': np.zeros(3)})


def test_box_blending_takes_values_along(parts):
    blend = dict(type='CopyBlend', prob=1.0, min_area=1)
    dataset = parts(pipeline=[*STEPS[:3], blend, STEPS[3]])
    more = 0
    for epoch in range(20):
        for sample in dataset.__getitems__([SampleKey(0, epoch, i, i) for i in range(8)]):
            own = sample['annotations']
            assert len(own.values.get('depth', ())) == len(own)
            known = {float(depth) for number in range(8) for depth in objects(number).values['depth']}
            assert set(own.values.get('depth', np.zeros(0)).tolist()) <= known
            more += len(own) > 3
    assert more


def test_a_conversion_says_that_it_leaves_values_out(parts, tmp_path):
    conversion = convert_dataset({'train': parts(test_mode=True)}, tmp_path / 'coco', 'coco')
    counts = {skip.kind or skip.reason: skip.count for skip in conversion.lost}
    assert {kind: count for kind, count in counts.items() if 'values' in kind} == {
        "the values 'depth' of an object": 12,
        "the values 'flags' of an object": 12,
    }


@pytest.mark.parametrize(
    ('changed', 'sentence'),
    [
        (dict(values={'depth': [1.0, 2.0]}), r"values\['depth'\] as a list"),
        (dict(values={'depth': np.array(['far', 'near'])}), r"values\['depth'\] as an array of <U4"),
        (dict(values={'scores': np.zeros(2)}), "values of the name 'scores', which is none of a field"),
        (dict(values={'keys': np.zeros(2)}), "values of the name 'keys'"),
        (dict(values={'a b': np.zeros(2)}), "values of the name 'a b'"),
        (dict(values={'other': np.zeros(2)}), r"gives the values \{'other': \(\)\} .* in b.png, but \{'depth': \(\)"),
        (dict(values={}), r'gives the values \{\} .* in b.png, but .*: give all objects the same, such as NaN'),
    ],
)
def test_values_that_no_batch_can_hold_are_refused(changed, sentence):
    class ListDataset(DetDataset):
        def load_records(self):
            first = [objects(2)] if changed['values'].keys() in ({'other'}, set()) else []
            parts = [*first, replace(objects(2), **changed)]
            return [Record(f'{"ab"[i]}.png', i, (SIZE, SIZE), part) for i, part in enumerate(parts)]

    with pytest.raises(ConfigError, match=sentence):
        ListDataset(metainfo=dict(classes=('a', 'b')))


def test_a_transform_that_loses_values_is_named(parts, tmp_path, repo, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @TRANSFORMS.register_module()
    class Losing:
        stage = 'pixels'

        def __call__(self, sample):
            own = sample.annotations
            return replace(sample, annotations=Annotations(own.labels, own.bboxes))

    steps = [*STEPS[:3], dict(type='Losing'), STEPS[3]]
    with pytest.raises(
        ConfigError, match='Losing returns annotations without the values depth, flags for .*select and'
    ):
        train_from_config(write_config(tmp_path, repo, steps), OPTIONS)


def test_the_head_and_metric_of_the_docs(parts, tmp_path, repo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = train_from_config(write_config(tmp_path, repo), OPTIONS)
    assert runner.train_loop.losses.means()['depth'] > 0
    lines = [json.loads(line) for line in (tmp_path / 'run/scalars.json').read_text().splitlines()]
    assert any('depth/error' in line for line in lines)

    model = Detector('run/last.pth', device='cpu')
    img = draw('3')
    (result,) = model(img, score_thr=0.0, max_per_img=5)
    assert result.values['depth'].shape == (5,) and result.values['depth'].dtype == np.float32
    assert result[1:3].values['depth'].tolist() == result.values['depth'][1:3].tolist()
    entry = result.to_dict()['objects'][0]
    assert entry['values'] == {'depth': pytest.approx(float(result.values['depth'][0]), abs=1e-6)}
    assert result.to_coco()[0]['values'] == entry['values'] and 'depth' in result.columns
    assert result.rows()[0]['depth'] == float(result.values['depth'][0]) and 'depth' in str(result)
    unknown = replace(result, values={'depth': np.full(5, np.nan, np.float32)})
    assert json.loads(unknown.to_json())['objects'][0]['values'] == {'depth': None}
    for options in (dict(tile=48), dict(tta=True), dict(tta=True, tta_merge='wbf')):
        (other,) = model(img, score_thr=0.0, max_per_img=5, **options)
        assert other.values['depth'].shape == (len(other),)

    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    assert len(model.config()['classes']) == 80  # of the base's data, of which the model has none
    (again,) = Detector('run/last.pth', device='cpu', runtime='onnx')(img, score_thr=0.0, max_per_img=5)
    np.testing.assert_allclose(again.values['depth'], result.values['depth'], rtol=1e-3)


def test_a_metric_says_which_values_are_missing(parts, tmp_path, repo, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @METRICS.register_module()
    class Far(METRICS.get('DepthError')):
        default_prefix = 'far'
        values = ('depth', 'flags')

    with pytest.raises(
        ConfigError, match="Far needs predicted values 'flags', but the head gives none: write pred_ins"
    ):
        train_from_config(write_config(tmp_path, repo, metric="dict(type='Far')"), OPTIONS)
    sample = DetDataSample(metainfo=dict(ori_shape=(SIZE, SIZE), img_path='a.png'))
    sample.gt_instances = InstanceData(labels=np.zeros(1, np.int64), bboxes=np.zeros((1, 4)))
    sample.pred_instances = InstanceData(labels=np.zeros(0, np.int64), bboxes=np.zeros((0, 4)), scores=np.zeros(0))
    with pytest.raises(DataError, match="Far needs the values 'depth' of each object, but .* none for 'a.png'"):
        Far().image_result(sample)
