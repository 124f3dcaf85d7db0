"""A detector of two convolutions over random images: everything an engine needs, in milliseconds."""

from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from detkit.datasets.skips import Skip
from detkit.registry import DATA_PREPROCESSORS, DATASETS, DETECTORS, FUNCTIONS, METRICS
from detkit.utils.rng import keyed_rng

CLASSES = ('ball', 'kite')


@DATASETS.register_module()
class DummyDataset:
    """Images of noise whose label is the channel that is brightest; every draw is keyed, as detkit's are."""

    max_skipped = 0.01

    def __init__(self, size: int = 12, bad_position: int = -1) -> None:
        self.size = size
        self.bad_position = bad_position
        self.metainfo = {'classes': CLASSES}
        self.skipped: list[Skip] = []
        self.unused: list[Skip] = []
        self.transforms: list[Any] = []

    @classmethod
    def peek(cls, cfg: dict[str, Any]) -> dict[str, Any]:
        return {'classes': CLASSES}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: Any) -> dict:
        seed, epoch, position, index = (0, 0, key, key) if isinstance(key, int) else key
        rng = keyed_rng(seed, epoch, position)
        image = torch.from_numpy(rng.normal(size=(3, 8, 8)).astype('float32'))
        label = index % len(CLASSES)
        image[label] += 1
        if self.bad_position == position:
            image[:] = float('nan')
        return {'img': image, 'label': label, 'img_path': f'{index}.jpg', 'key': tuple(key) if key != index else key}

    def __getitems__(self, keys: list) -> list[dict]:
        return [self[key] for key in keys]


@FUNCTIONS.register_module()
def dummy_collate(samples: list[dict]) -> dict:
    elements = [BaseDataElement(metainfo={'img_path': s['img_path'], 'label': s['label']}) for s in samples]
    return {
        'inputs': torch.stack([s['img'] for s in samples]),
        'gt': torch.tensor([s['label'] for s in samples]),
        'data_samples': elements,
        'skipped': [],
        'keys': [s['key'] for s in samples],
    }


@DATA_PREPROCESSORS.register_module()
class DummyPreprocessor(BaseDataPreprocessor):
    seed = iteration = -1

    def forward(self, data: dict, training: bool = False) -> dict:
        return {
            'inputs': data['inputs'].to(self.device),
            'gt': data['gt'].to(self.device),
            'data_samples': data['data_samples'],
        }


@DETECTORS.register_module()
class DummyDetector(BaseModel):
    """Normalisation and dropout are in it because both carry state from step to step."""

    def __init__(self, num_classes: int = 2, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__(DummyPreprocessor())
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.cls_head = nn.Conv2d(width, num_classes, 1)

    def forward(
        self, inputs: Tensor, gt: Tensor | None = None, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        logits = self.cls_head(self.dropout(self.backbone(inputs))).mean((2, 3))
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            loss = nn.functional.cross_entropy(logits, gt, reduction='sum')
            return {'loss_cls': loss, 'loss_extra': logits.square().sum() * 0.01}
        for sample, scores in zip(data_samples, logits, strict=True):
            sample.set_field(int(scores.argmax()), 'pred')
        return data_samples


@METRICS.register_module()
class DummyMetric(BaseMetric):
    """Accuracy under a name that counts for fitness."""

    default_prefix = 'coco'

    def process(self, data_batch: Any, data_samples: list) -> None:
        self.results += [float(sample['pred'] == sample['label']) for sample in data_samples]

    def evaluate(self, size: int) -> dict[str, float]:
        results = [value for part in all_gather_object(self.results) for value in part]
        self.results = []
        return {f'coco/{name}': value for name, value in self.compute_metrics(results).items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {'bbox_mAP': sum(results) / len(results), 'bbox_mAP50': 1.0, 'count': len(results)}


def dummy_config(work_dir: Any, **changes: Any) -> dict[str, Any]:
    """A config of 3 iterations an epoch; ``changes`` are merged in by top-level key, dicts one level deep."""
    cfg: dict[str, Any] = dict(
        work_dir=str(work_dir),
        device='cpu',
        task='det',
        model=dict(type='DummyDetector'),
        train_dataloader=dict(
            dataset=dict(type='DummyDataset'), batch_size=4, num_workers=0, collate_fn=dict(type='dummy_collate')
        ),
        val_dataloader=dict(
            dataset=dict(type='DummyDataset', size=6),
            batch_size=4,
            num_workers=0,
            sampler=dict(type='EpochSampler', shuffle=False),
            collate_fn=dict(type='dummy_collate'),
        ),
        val_evaluator=dict(type='DummyMetric'),
        val_cfg=dict(),
        train_cfg=dict(max_epochs=4, val_interval=2),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4), accumulate=2, amp=False
        ),
        param_scheduler=dict(type='WarmupDecay', warmup_epochs=1),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval_iters=1)),
        randomness=dict(seed=3),
    )
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(cfg.get(key), dict):
            cfg[key] = {**cfg[key], **value}
        else:
            cfg[key] = value
    return cfg
