import cv2
import numpy as np
import pytest
import torch

from detkit.structures.gt_batch import GtBatch
from detkit.visualization import sheets
from detkit.visualization.palette import class_colour
from detkit.visualization.sheets import batch_sheet, grid, prediction_sheet

from .test_drawing import make_sample


def make_batch(kind: str, images: int = 3) -> tuple[torch.Tensor, GtBatch]:
    inputs = torch.full((images, 3, 64, 96), 90, dtype=torch.uint8)
    labels = torch.tensor([[2, 4], [3, -1], [-1, -1]])[:images]
    valid = labels >= 0
    bboxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [50.0, 10.0, 90.0, 50.0]]).repeat(images, 1, 1) * valid[..., None]
    maps = torch.zeros((images, 16, 24), dtype=torch.uint8)
    maps[0, 2:10, 2:10] = 1
    maps[0, 3:12, 13:22] = 2
    maps[1, 2:10, 2:10] = 1
    masks = {'none': None, 'map': maps, 'bitmaps': torch.stack([maps == 1, maps == 2], 1)}[kind]
    img_shapes = torch.tensor([[64, 96]] * images)
    return inputs, GtBatch(labels, bboxes, valid, valid.flatten().nonzero()[:, 0], img_shapes, masks)


@pytest.mark.parametrize('kind', ['none', 'map', 'bitmaps'])
def test_batch_sheet(kind):
    sheet = batch_sheet(*make_batch(kind), [str(i) for i in range(5)])
    assert sheet.shape == (256 * 2 + 4, 384 * 2 + 4, 3)  # small images are enlarged, here four times
    third = sheet[260:, :384]
    assert (third == 90).all()  # no object
    inside = sheet[120, 280]  # second object of the first image
    tinted = np.rint(90 * 0.55 + 0.45 * np.array(class_colour(4)))
    assert (inside == (90 if kind == 'none' else tinted)).all()
    assert np.abs(sheet[120, 200].astype(int) - class_colour(4)).max() < 90  # its box's left side


def test_overlap_map_equals_bitmaps():
    captions = ['a.jpg', 'b.jpg', 'c.jpg']
    sheets = [batch_sheet(*make_batch(kind), captions=captions) for kind in ('map', 'bitmaps')]
    assert (sheets[0] == sheets[1]).all() and sheets[0].shape[0] > 256 * 2 + 4


def test_large_batches_are_cut_and_shrunk():
    inputs = torch.zeros((20, 3, 640, 640), dtype=torch.uint8)
    labels = torch.full((20, 0), -1)
    gt = GtBatch(labels, torch.zeros(20, 0, 4), labels >= 0, torch.zeros(0, dtype=torch.int64), torch.zeros(20, 2))
    sheet = batch_sheet(inputs, gt, max_images=16)
    assert max(sheet.shape) <= 1920 and (sheet[:400, :400] == 0).all()


def test_prediction_sheet():
    img = np.full((120, 160, 3), 90, np.uint8)
    sheet = prediction_sheet([img] * 3, [make_sample() for _ in range(3)], ('a', 'b'))
    caption = sheet.shape[0] // 2 - 122
    assert caption > 5 and sheet.shape[1] == 160 * 4 + 12
    truth, prediction = sheet[caption : caption + 120, :160], sheet[caption : caption + 120, 164:324]
    assert (truth[45, 120] != 90).any() and (prediction[45, 120] == 90).all()  # the crowd is in the ground truth alone


def test_text_is_legible_after_shrinking():
    img = np.full((2400, 3200, 3), 90, np.uint8)
    sheet = prediction_sheet([img] * 2, [make_sample() for _ in range(2)], ('a', 'b'))
    assert sheet.shape[1] < 1920
    boxes = (np.abs(sheet.astype(int) - class_colour(0)).max(-1) < 30).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(boxes)
    assert count > 1 and stats[1:, cv2.CC_STAT_HEIGHT].max() >= 11  # the label's background


def test_grid_of_unequal_pictures():
    cells = [np.zeros((h, w, 3), np.uint8) for h, w in ((10, 20), (30, 5), (8, 8))]
    assert grid(cells, 2).shape == (30 + 4 + 8, 20 + 4 + 5, 3)
    assert (grid(cells, 2) == 0).all(-1).sum() == 10 * 20 + 30 * 5 + 8 * 8


def test_pictures_without_objects_say_so(monkeypatch):
    captions = []

    def with_caption(img, text):
        captions.append(text)
        return img

    monkeypatch.setattr(sheets, 'with_caption', with_caption)
    img, sample = np.full((120, 160, 3), 90, np.uint8), make_sample()
    prediction_sheet([img], [sample], ('a', 'b'), score_thr=0.05)
    prediction_sheet([img], [sample], ('a', 'b'), score_thr=0.999)
    sample.gt_instances = sample.gt_instances[:0]
    prediction_sheet([img], [sample], ('a', 'b'), score_thr=0.05)
    name = captions[0].removesuffix('ground truth')
    truth, prediction = f'{name}ground truth', f'{name}prediction'
    assert captions == [
        *(truth, prediction),
        *(truth, f'{prediction}: none above 0.999'),
        *(f'{truth}: no object', prediction),
    ]
