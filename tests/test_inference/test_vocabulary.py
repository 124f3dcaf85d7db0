"""Classes by name in prediction and export, of a detector that was trained on the drawn pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from builders import CONFIGS, model_config

from detkit import Detector
from detkit.cli.main import main
from detkit.config import literal_text, load_config
from detkit.datasets.class_names import COCO80
from detkit.engine import save_checkpoint
from detkit.inference import Predictor
from detkit.models.detectors import ModelInfo
from detkit.models.text_encoders import NgramTextEncoder, save_embeddings
from detkit.registry import DETECTORS
from detkit.sample_data.coco8 import render_scenes
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError, DataError

SIZE, NUM_SCENES, STEPS = 128, 2, 200
CLASSES = ('umbrella', 'stop sign', 'traffic light', 'clock', 'kite')
pytestmark = pytest.mark.slow  # trains for some 12 seconds of one core
SCORE_THR = 0.1  # below that of names of the training, as the vectors of others are near theirs, not the same


def variant_of(name: str) -> str:
    """A name that the model has not been trained with, whose vector is near that of ``name``."""
    variant = f'a {name}'
    first, second = NgramTextEncoder()([name, variant])
    assert variant not in CLASSES and 0.7 < first @ second < 0.95
    return variant


def scenes() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Drawn pictures (SIZE, SIZE, 3) with labels and boxes, of ``CLASSES`` alone."""
    found = []
    for scene in render_scenes('train', NUM_SCENES):
        height, width = scene.image.shape[:2]
        kept = [(CLASSES.index(COCO80[o.label]), o.polygon) for o in scene.objects if COCO80[o.label] in CLASSES]
        bboxes = np.array([[*polygon.min(0), *polygon.max(0)] for _, polygon in kept]).reshape(-1, 4)
        image = cv2.resize(scene.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        scale = np.array([SIZE / width, SIZE / height] * 2)
        found.append((image, np.array([label for label, _ in kept], int), bboxes * scale))
    return found


def batch_of(pictures: list) -> GtBatch:
    most = max(len(labels) for _, labels, _ in pictures)
    labels = torch.full((len(pictures), most), -1)
    bboxes = torch.zeros(len(pictures), most, 4)
    for row, (_, own_labels, own_bboxes) in enumerate(pictures):
        labels[row, : len(own_labels)] = torch.from_numpy(own_labels)
        bboxes[row, : len(own_labels)] = torch.from_numpy(own_bboxes).float()
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.full((len(pictures), 2), SIZE),
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A checkpoint of a narrow model that knows two drawn pictures by heart."""
    torch.manual_seed(0)
    options = dict(deepen_factor=0.33, widen_factor=0.25, img_size=SIZE, classes=CLASSES)
    config = load_config(CONFIGS / 'yolo_world' / 'det_s_coco8.py', options)
    assert config.model.classes == CLASSES
    model = DETECTORS.build(config.model)
    model.init_weights()
    pictures = scenes()
    gt = batch_of(pictures)
    inputs = torch.from_numpy(np.stack([image for image, _, _ in pictures])).permute(0, 3, 1, 2).float() / 255
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    model.train()
    for _ in range(STEPS):
        losses = model(inputs, gt, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    meta = dict(format='detkit', format_version=1, classes=list(CLASSES), task='det', config=literal_text(config))
    path = tmp_path_factory.mktemp('world') / 'best.pth'
    save_checkpoint({'meta': meta, 'state_dict': model.state_dict()}, path)
    return path


def found_of(result, label: int, pictures) -> float:
    """The share of a class's objects in the first picture that a result's boxes show."""
    _, labels, bboxes = pictures[0]
    wanted = bboxes[labels == label]
    if not len(result.bboxes):
        return 0.0
    return float((pairwise_iou(np.asarray(wanted, np.float32), np.asarray(result.bboxes)).max(1) > 0.5).mean())


def test_a_name_of_another_spelling_finds_a_class_through_its_embedding(trained):
    pictures = scenes()
    image, labels, _ = pictures[0]
    model = Detector(trained, device='cpu')
    variant = variant_of(CLASSES[labels[0]])
    result = model(image, classes=[variant, 'xylophone'], score_thr=SCORE_THR)[0]
    assert result.classes == (variant, 'xylophone') and set(result.names) == {variant}
    assert found_of(result, labels[0], pictures) > 0
    # A name whose vector is near none of the training finds nothing.
    assert model(image, classes=['xylophone'], score_thr=SCORE_THR)[0].names == []


def test_the_file_of_embeddings_decides(trained, tmp_path):
    image, labels, _ = scenes()[0]
    known = CLASSES[labels[0]]
    save_embeddings(tmp_path / 'names.npz', ['thing 7'], NgramTextEncoder()([known]))
    model = Detector(trained, device='cpu')
    by_file = model(image, classes='thing 7', text_embeddings=str(tmp_path / 'names.npz'))[0]
    by_name = model(image, classes=[known])[0]
    assert len(by_file.bboxes) and set(by_file.names) == {'thing 7'}
    np.testing.assert_allclose(by_file.scores, by_name.scores, atol=1e-5)
    with pytest.raises(DataError, match="no embedding of thing 8.* Did you mean 'thing 7'"):
        model(image, classes='thing 8', text_embeddings=str(tmp_path / 'names.npz'))
    with pytest.raises(ConfigError, match='give it with names as classes'):
        model(image, text_embeddings=str(tmp_path / 'names.npz'))


def test_numbers_are_the_labels_of_the_classes_that_the_model_has(trained):
    image, labels, _ = scenes()[0]
    result = Detector(trained, device='cpu')(image, classes=[int(labels[0])])[0]
    assert result.classes == CLASSES and set(result.names) == {CLASSES[labels[0]]}


def test_set_classes_stay_in_predictions_and_in_an_exported_file(trained, tmp_path):
    pytest.importorskip('onnxruntime')
    image, labels, _ = scenes()[0]
    variant = variant_of(CLASSES[labels[0]])
    model = Detector(trained, device='cpu')
    model.set_classes([variant, 'xylophone'])
    assert model.classes == (variant, 'xylophone')
    expected = model(image, score_thr=SCORE_THR)[0]
    path = model.export(path=tmp_path / 'two.onnx', img_size=SIZE)  # which compares the file with PyTorch
    exported = Detector(path)
    result = exported(image, score_thr=SCORE_THR)[0]
    assert exported.classes == (variant, 'xylophone') and set(result.names) == {variant}
    np.testing.assert_allclose(result.bboxes, expected.bboxes, atol=0.05)
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-3)
    with pytest.raises(ConfigError, match='there is no class .umbrellas. among the 2 of the model'):
        exported(image, classes=['umbrellas'])
    with pytest.raises(ConfigError, match='classes of this model are fixed'):
        exported.set_classes(['umbrella'])
    with pytest.raises(TypeError, match=r"write \['umbrella'\]"):
        model.set_classes('umbrella')


def test_the_command_line_takes_names(trained, tmp_path, capsys):
    image, labels, _ = scenes()[0]
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    variant = variant_of(CLASSES[labels[0]])
    out = tmp_path / 'out'
    main(['predict', '-', str(trained), str(tmp_path / 'a.png'), '--classes', variant, 'big nut', '--out-dir', str(out),
          '--device', 'cpu', '--save-csv', '--score-thr', str(SCORE_THR)])  # fmt: skip
    assert variant in (out / 'predictions.csv').read_text()
    pytest.importorskip('onnxruntime')
    main(
        [
            'export',
            str(trained),
            '--out',
            str(tmp_path / 'x.onnx'),
            '--img-size',
            str(SIZE),
            '--classes',
            variant,
            'nut',
        ]
    )
    assert Detector(tmp_path / 'x.onnx').classes == (variant, 'nut')


def test_a_closed_set_takes_no_other_names():
    config = model_config('yolov8_det', 2, deepen_factor=0.33, widen_factor=0.125)
    model = DETECTORS.build(config).eval()
    model.info = ModelInfo({'img_size': 64}, ('bolt', 'nut'))
    with pytest.raises(ConfigError, match=r"no class 'pin' among the 2 .* \(bolt, nut\); give .* from 0 to 1"):
        Predictor(model=model, classes=['pin'])
    with pytest.raises(ConfigError, match='to an open-vocabulary model'):
        Predictor(model=model, classes=['nut'], text_embeddings='names.npz')
