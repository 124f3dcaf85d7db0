"""What is known of keypoints as a whole."""

import pytest

from detkit.structures import keypoints as kp
from detkit.utils.errors import ConfigError


def test_coco_facts_agree_with_each_other():
    assert len(kp.COCO_KEYPOINTS) == len(kp.COCO_SIGMAS) == 17
    assert kp.pairs_by_name(kp.COCO_KEYPOINTS) == kp.COCO_FLIP_PAIRS
    for i, j in kp.COCO_FLIP_PAIRS:
        assert kp.COCO_SIGMAS[i] == kp.COCO_SIGMAS[j]
    flip = kp.flip_indices(kp.COCO_FLIP_PAIRS, 17)
    assert [flip[i] for i in flip] == list(range(17))
    # A mirrored skeleton is the same skeleton.
    edges = {frozenset(edge) for edge in kp.COCO_SKELETON}
    assert {frozenset(flip[i] for i in edge) for edge in edges} == edges


@pytest.mark.parametrize(
    ('names', 'pairs'),
    [
        (('nose', 'left_eye', 'right_eye'), ((1, 2),)),
        (('front_left_paw', 'front_right_paw', 'tail'), ((0, 1),)),
        (('RightHand', 'LeftHand'), ((1, 0),)),
        (('l_hip', 'r_hip', 'l_knee'), ((0, 1),)),
        (('a', 'b'), ()),
    ],
)
def test_pairs_by_name(names, pairs):
    assert kp.pairs_by_name(names) == pairs


def test_what_is_not_given_is_filled_in():
    filled = kp.fill_metainfo({}, 17, 'a set')
    assert filled['sigmas'] == kp.COCO_SIGMAS and filled['skeleton'] == kp.COCO_SKELETON
    assert filled['flip_pairs'] is None  # 17 keypoints need not be COCO's
    filled = kp.fill_metainfo({'keypoint_names': ['left', 'right', 'top', 'end']}, 4, 'a set')
    assert filled == {
        'keypoint_names': ('left', 'right', 'top', 'end'),
        'flip_pairs': ((0, 1),),
        'skeleton': (),
        'sigmas': (0.25,) * 4,
    }
    filled = kp.fill_metainfo({'flip_pairs': [], 'skeleton': [[0, 1]], 'sigmas': [0.1, 0.2]}, 2, 'a set')
    assert filled['flip_pairs'] == () and filled['skeleton'] == ((0, 1),) and filled['sigmas'] == (0.1, 0.2)


@pytest.mark.parametrize(
    ('metainfo', 'reason'),
    [
        ({'keypoint_names': ('a', 'b', 'c')}, 'keypoint_names of a set has 3 entries for 2 keypoints'),
        ({'sigmas': (0.1,)}, 'sigmas of a set has 1 entries'),
        ({'sigmas': (0.1, 0.0)}, 'must be positive'),
        ({'flip_pairs': ((0, 2),)}, 'outside 0 to 1'),
        ({'flip_pairs': ((0, 1), (1, 0))}, 'twice'),
        ({'skeleton': (0, 1)}, 'should be pairs'),
    ],
)
def test_what_does_not_fit_is_an_error(metainfo, reason):
    with pytest.raises(ConfigError, match=reason):
        kp.fill_metainfo(metainfo, 2, 'a set')


@pytest.mark.parametrize('shape', [17, (17,), (0, 3), (17, 4), (17, 1), ('17', 3), (17.0, 3), None])
def test_a_wrong_shape_is_an_error(shape):
    with pytest.raises(ConfigError, match='keypoint_shape is .* but must be'):
        kp.check_shape(shape, 'keypoint_shape')
