"""The data preprocessor: values, layout, padding, multi-scale."""

import pytest
import torch

from detkit.models import DetDataPreprocessor
from detkit.models.data_preprocessor import StepKey, rescale_gt
from detkit.structures.gt_batch import GtBatch


def make_batch(height: int = 64, width: int = 96, objects: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)
    gt = GtBatch(
        labels=torch.zeros(2, objects, dtype=torch.int64),
        bboxes=torch.tensor([[[8.0, 4, 40, 60], [0, 0, 96, 64]]]).repeat(2, 1, 1)[:, :objects],
        valid=torch.ones(2, objects, dtype=torch.bool),
        flat_index=torch.arange(2 * objects),
        img_shapes=torch.tensor([[height, width], [height - 24, width - 32]]),
        masks=torch.randint(0, 3, (2, height // 4, width // 4), dtype=torch.uint8, generator=generator),
    )
    return dict(inputs=inputs, gt=gt, data_samples=['a', 'b'], skipped=[])


def test_divides_by_255_in_channels_last():
    batch = make_batch()
    out = DetDataPreprocessor()(batch)
    assert set(out) == {'inputs', 'gt', 'data_samples'}
    assert torch.equal(out['inputs'], batch['inputs'].float() / 255)
    assert out['inputs'].is_contiguous(memory_format=torch.channels_last)
    assert out['data_samples'] == ['a', 'b']
    assert batch['inputs'].dtype == torch.uint8  # what came in is untouched
    assert DetDataPreprocessor(channels_last=False)(batch)['inputs'].is_contiguous()


def test_mean_and_std_are_per_channel():
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    batch = make_batch()
    out = DetDataPreprocessor(mean, std)(batch)['inputs']
    for channel in range(3):
        expected = (batch['inputs'][:, channel].float() - mean[channel]) / std[channel]
        torch.testing.assert_close(out[:, channel], expected)


def test_mean_and_std_must_match():
    with pytest.raises(ValueError, match='3 values in mean but 1 in std'):
        DetDataPreprocessor((0, 0, 0), (1,))


def test_padding_is_zero_after_normalising():
    batch = make_batch()
    batch['inputs'].fill_(114)
    out = DetDataPreprocessor(mean=(10.0, 10, 10), zero_padding=True)(batch)['inputs']
    assert (out[0] != 0).all()
    assert (out[1, :, :40, :64] != 0).all()
    assert not out[1, :, 40:].any() and not out[1, :, :, 64:].any()


def test_without_ground_truth():
    out = DetDataPreprocessor(zero_padding=True)(dict(inputs=make_batch()['inputs']))
    assert out['gt'] is None and out['data_samples'] is None


def test_state_dict_holds_no_constants():
    assert not DetDataPreprocessor().state_dict()


class TestMultiScale:
    def run(self, iteration: int, seed: int = 3, **kwargs) -> dict:
        preprocessor = DetDataPreprocessor(multi_scale=(0.5, 1.5), **kwargs)
        return preprocessor({**make_batch(), 'step_key': StepKey(seed, iteration)}, training=True)

    def test_depends_on_seed_and_iteration_alone(self):
        sizes = [tuple(self.run(i)['inputs'].shape[-2:]) for i in range(12)]
        assert sizes == [tuple(self.run(i)['inputs'].shape[-2:]) for i in range(12)]
        assert len(set(sizes)) > 2
        assert sizes != [tuple(self.run(i, seed=4)['inputs'].shape[-2:]) for i in range(12)]
        assert all(h % 32 == 0 and w % 32 == 0 and 32 <= h <= 96 and 32 <= w <= 160 for h, w in sizes)

    def test_interval_holds_a_size(self):
        sizes = [tuple(self.run(i, multi_scale_interval=4)['inputs'].shape[-2:]) for i in range(12)]
        assert all(len(set(sizes[i : i + 4])) == 1 for i in (0, 4, 8))

    def test_a_step_of_the_optimiser_holds_a_size(self):
        preprocessor = DetDataPreprocessor(multi_scale=(0.5, 1.5), multi_scale_interval=None)
        sizes = []
        for step in range(12):
            of_step = set()
            for iteration in range(3):
                batch = {**make_batch(), 'step_key': StepKey(0, iteration, step)}
                of_step.add(tuple(preprocessor(batch, training=True)['inputs'].shape[-2:]))
            sizes.append(of_step)
        assert all(len(of_step) == 1 for of_step in sizes) and len(set.union(*sizes)) > 2

    def test_leaves_the_global_generator_alone(self):
        before = torch.get_rng_state()
        self.run(1)
        assert torch.equal(before, torch.get_rng_state())

    def test_is_for_training_only(self):
        out = DetDataPreprocessor(multi_scale=(0.5, 0.5))(make_batch(), training=False)
        assert out['inputs'].shape[-2:] == (64, 96)

    def test_ground_truth_follows(self):
        batch = make_batch()
        preprocessor = DetDataPreprocessor(multi_scale=(2.0, 2.0))
        out = preprocessor(batch, training=True)
        assert out['inputs'].shape[-2:] == (128, 192)
        assert out['inputs'].is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(out['gt'].bboxes, batch['gt'].bboxes * 2)
        assert torch.equal(out['gt'].img_shapes, batch['gt'].img_shapes * 2)
        doubled = batch['gt'].masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert torch.equal(out['gt'].masks, doubled)


def test_rescale_gt_by_unequal_factors():
    gt = make_batch()['gt']
    keypoints = torch.tensor([[[[8.0, 4, 2]], [[96, 64, 1]]]]).repeat(2, 1, 1, 1)
    gt.keypoints = keypoints
    gt.masks = torch.stack([gt.masks == 1, gt.masks == 2], dim=1)  # one bool mask an object
    out = rescale_gt(gt, (64, 96), (32, 192))
    torch.testing.assert_close(out.bboxes[0, 0], torch.tensor([16.0, 2, 80, 30]))
    torch.testing.assert_close(out.keypoints[0, :, 0], torch.tensor([[16.0, 2, 2], [192, 32, 1]]))
    assert out.masks.shape == (2, 2, 8, 48)
    assert torch.equal(out.masks, gt.masks[:, :, 1::2].repeat_interleave(2, -1))
    assert out.img_shapes.tolist() == [[32, 192], [20, 128]]


def test_rescale_gt_without_objects():
    gt = rescale_gt(make_batch(objects=0)['gt'], (64, 96), (128, 192))
    assert gt.bboxes.shape == (2, 0, 4)


def test_rotated_boxes_are_rescaled():
    gt = make_batch()['gt']
    gt.rbboxes = torch.tensor([[10.0, 20.0, 8.0, 4.0, 0.3], [0.0, 0.0, 0.0, 0.0, 0.0]]).expand(2, 2, 5)
    doubled = rescale_gt(gt, (64, 96), (128, 192)).rbboxes
    assert torch.allclose(doubled[0, 0], torch.tensor([20.0, 40.0, 16.0, 8.0, 0.3]))
    assert not doubled[:, 1, :4].any()
    stretched = rescale_gt(gt, (64, 96), (64, 192)).rbboxes  # as good as a rectangle can follow
    assert torch.allclose(stretched[0, 0, :2], torch.tensor([20.0, 20.0]))
    assert 8 < stretched[0, 0, 2] < 16 and 0 < stretched[0, 0, 4] < 0.3
