"""DEIM's dense augmentation: mosaics on a grid, which of two lists is run, and objects blended in."""

import numpy as np
import pytest
from scene_helpers import run, sample_of, shapes_scene
from test_transforms_mixing import flat

from detkit.datasets.transforms import CopyBlend, GridMosaic, MixUp, RandomAffine, RandomChoice, RandomZoomOut, Render
from detkit.structures import Annotations


def test_grid_mosaic_puts_four_images_into_quarters():
    scenes = [flat(64, 64, 40, 0), flat(32, 64, 80, 1), flat(128, 64, 160, 2), flat(40, 40, 200, 3)]
    results = run(GridMosaic(32), sample_of(scenes[0]), scenes[1:])
    assert results.scene.size == (128, 128)  # the second is 32 x 64 then, the third 64 x 32
    rendered = Render(fill=0)(results)
    boxes = dict(zip(rendered.annotations.labels.tolist(), rendered.annotations.bboxes.tolist(), strict=True))
    assert boxes == {0: [0, 0, 32, 32], 1: [64, 0, 128, 32], 2: [0, 64, 32, 128], 3: [64, 64, 96, 96]}
    for label, value in enumerate((40, 80, 160, 200)):
        x0, y0, x1, y1 = map(int, boxes[label])
        assert (rendered.img[y0:y1, x0:x1] == value).all()
    assert (rendered.img[32:64] == 0).all()


def test_grid_mosaic_goes_through_an_affine():
    scenes = [flat(64, 64, 40, label) for label in range(4)]
    results = run(GridMosaic(64), sample_of(scenes[0], position=2), scenes[1:])
    turned = RandomAffine(translate=0.1, scale=0.5, degrees=10.0)(results)
    rendered = Render(fill=0, min_size=0)(turned)
    assert rendered.img.shape == (128, 128, 3) and len(rendered.annotations) > 0


@pytest.mark.parametrize(
    ('inactive', 'expected'),
    [
        ((), {'mosaic', 'zoom'}),
        (('GridMosaic',), {'zoom'}),
        (('RandomZoomOut',), {'mosaic'}),
        (('GridMosaic', 'RandomZoomOut'), {'none'}),
    ],
)
@pytest.mark.parametrize('order', ['mosaic first', 'mosaic last'])
def test_a_list_that_is_turned_off_is_not_drawn(inactive, expected, order):
    lists = [[GridMosaic(32)], [RandomZoomOut(prob=1.0)]]
    prob = [0.3, 0.7]
    if order == 'mosaic last':
        lists, prob = lists[::-1], prob[::-1]
    choice = RandomChoice(lists, prob)
    names = {'GridMosaic': 'mosaic', 'RandomZoomOut': 'zoom'}
    found = []
    for position in range(200):
        chosen = choice.choose(sample_of(shapes_scene(40, 40), position=position, inactive=set(inactive)))
        found.append(names[type(chosen[0]).__name__] if chosen else 'none')
    assert set(found) == expected
    if not inactive:
        assert found.count('mosaic') / 200 == pytest.approx(0.3, abs=0.1)


def test_a_list_of_no_probability_is_not_drawn_in_the_place_of_one_that_is_off():
    choice = RandomChoice([[GridMosaic(32)], [RandomZoomOut()]], prob=[1.0, 0.0])
    assert choice.choose(sample_of(shapes_scene(40, 40), inactive={'GridMosaic'})) == []


def rendered(value, label, side=100, bbox=(20, 30, 60, 80), position=0):
    scene = flat(side, side, value, label)
    sample = Render()(sample_of(scene, position=position))
    annotations = Annotations(np.array([label]), np.array([bbox], np.float32))
    sample.annotations = annotations
    return sample


@pytest.mark.parametrize('position', range(4))
def test_objects_are_blended_where_their_new_boxes_are(position):
    own, other = rendered(100, 0, position=position), rendered(200, 1)
    blend = CopyBlend(prob=1.0, share=(0.5, 0.5), num_objects=1, expand=(0, 0))
    # With one object of each, either may be drawn; the averaged one shows by its grey level.
    result = blend.mix(own, [other], blend.draw(own))
    added = result.annotations.bboxes[1]
    assert len(result.annotations) == 2 and (added[2] - added[0], added[3] - added[1]) == (40, 50)
    x0, y0, x1, y1 = added.astype(int)
    assert 0 <= x0 and x1 <= 100 and 0 <= y0 and y1 <= 100
    assert (result.img[y0:y1, x0:x1] == (150 if result.annotations.labels[1] else 100)).all()
    outside = np.ones((100, 100), bool)
    outside[y0:y1, x0:x1] = False
    assert (result.img[outside] == 100).all()
    assert (own.img == 100).all() and (other.img == 200).all() and len(own.annotations) == 1  # inputs are unchanged
    assert result.annotations.areas[1] == 2000


def test_blended_rectangles_reach_beyond_boxes_as_far_as_both_images_do():
    own = rendered(100, 0, position=1, bbox=(0, 0, 5, 5))  # too small to be taken
    other = rendered(200, 1)
    blend = CopyBlend(prob=1.0, share=(0.5, 0.5), expand=(0.25, 0.25))
    for position in range(20):
        own = rendered(100, 0, position=position, bbox=(0, 0, 5, 5))
        result = blend.mix(own, [other], blend.draw(own))
        x0, y0, x1, y1 = result.annotations.bboxes[1].astype(int)
        rows, columns = np.nonzero(result.img[..., 0] == 150)
        assert (columns.min(), columns.max() + 1) == (max(x0 - 10, 0), min(x1 + 10, 100))
        assert (rows.min(), rows.max() + 1) == (max(y0 - 12, 0), min(y1 + 12, 100))


def test_what_is_not_blended():
    own, other = rendered(100, 0), rendered(200, 1)
    assert CopyBlend(prob=0.0).draw(own) is None
    off = rendered(100, 0)
    off.inactive = frozenset({'CopyBlend'})
    assert CopyBlend(prob=1.0).draw(off) is None
    mixed = run(MixUp(prob=1.0), sample_of(flat(64, 64, 40)), [flat(64, 64, 90)])
    assert CopyBlend(prob=1.0).draw(Render()(mixed)) is None  # it is averaged already
    other.masks = np.zeros((1, 100, 100), bool)
    blend = CopyBlend(prob=1.0)
    assert blend.mix(own, [other], blend.draw(own)) is own
    nothing = rendered(100, 0)
    nothing.annotations = Annotations()
    result = blend.mix(nothing, [nothing], (0.5,))
    assert len(result.annotations) == 0 and (result.img == 100).all()


@pytest.mark.parametrize('wrong', [dict(expand=(0.3, 0.2)), dict(share=(0.5, 1.5))])
def test_wrong_ranges_are_refused(wrong):
    with pytest.raises(ValueError, match=r'CopyBlend\((expand|share)='):
        CopyBlend(**wrong)
