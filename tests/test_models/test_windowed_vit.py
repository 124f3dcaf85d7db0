"""WindowedViT and MultiScaleProjector: windows, sizes of images, what is frozen and returned, strides."""

import warnings

import pytest
import torch

from detkit.models.backbones import WindowedViT
from detkit.models.backbones.windowed_vit import cubic_weights
from detkit.models.layers import LayerNorm2d
from detkit.models.necks import MultiScaleProjector
from detkit.utils.errors import CheckpointError, ConfigError

SMALL = dict(embed_dims=16, depth=3, num_heads=2, patch_size=8, table_size=4, global_blocks=(1,), out_indices=(1, 3))


def small_vit(**arguments) -> WindowedViT:
    torch.manual_seed(0)
    return WindowedViT(**{**SMALL, **arguments}).eval()


@pytest.mark.parametrize('size', [(32, 32), (33, 70), (64, 16), (8, 8)])
def test_returns_what_its_attributes_say_for_any_size(size):
    vit = small_vit(in_channels=1)
    feats = vit(torch.rand(2, 1, *size))
    assert [tuple(feat.shape) for feat in feats] == [(2, 16, -(-size[0] // 8), -(-size[1] // 8))] * 2
    assert vit.out_channels == (16, 16) and vit.out_strides == (8, 8)


def test_blocks_that_are_not_global_see_their_window_only():
    """A change in one window reaches the others through the global block, not before it."""
    vit = small_vit()
    x = torch.rand(1, 3, 32, 48)
    changed = x.clone()
    changed[..., :16, 24:] += 1  # the window above at the right, of 2 x 3 patches
    with torch.no_grad():
        before, after = vit(x), vit(changed)
    moved = [(a - b).abs().amax(1)[0] > 1e-6 for a, b in zip(before, after, strict=True)]
    inside = torch.zeros(4, 6, dtype=torch.bool)
    inside[:2, 3:] = True
    assert torch.equal(moved[0], inside)
    assert moved[1].all()


def test_one_window_is_the_plain_transformer():
    vit = small_vit(num_windows=1, global_blocks=())
    x = torch.rand(1, 3, 32, 32)
    x[..., 24:, 24:] = 0
    with torch.no_grad():
        assert torch.equal(vit(x)[1], small_vit(num_windows=1)(x)[1])


def test_frozen_parts_do_not_train():
    vit = small_vit(frozen_blocks=1)
    sum(feat.square().mean() for feat in vit(torch.rand(1, 3, 32, 32))).backward()
    frozen = {name.split('.')[0] + name.split('.')[1] for name, p in vit.named_parameters() if p.grad is None}
    assert frozen == {'embedclass_token', 'embedmask_token', 'embedpositions', 'embedproj', 'blocks0'}
    assert vit.freeze_parts == (('embed',), ('blocks.0',), ('blocks.1',), ('blocks.2',))


def test_weights_of_a_file_load(tmp_path):
    state = {f'backbone.{name}': torch.randn_like(value) for name, value in small_vit().state_dict().items()}
    torch.save(state, tmp_path / 'w.pth')
    vit = small_vit(weights=str(tmp_path / 'w.pth'))
    vit.init_weights()
    assert all(torch.equal(value, state[f'backbone.{name}']) for name, value in vit.state_dict().items())
    with pytest.raises(CheckpointError, match='another shape of 1 .* WindowedViT'):
        small_vit(weights=str(tmp_path / 'w.pth'), table_size=5).init_weights()


@pytest.mark.parametrize(
    'arguments, text',
    [
        (dict(num_windows=0), 'num_windows and table_size must be at least 1'),
        (dict(out_indices=(0, 2)), r'out_indices \(0, 2\) must ascend within 1 … 3'),
        (dict(global_blocks=(3,)), r'global_blocks \(3,\) must lie within 0 … 2'),
        (dict(frozen_blocks=4), 'frozen_blocks is 4; it must lie within -1'),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    with pytest.raises(ConfigError, match=text):
        WindowedViT(**{**SMALL, **arguments})


def test_the_projector_makes_a_pyramid_of_maps_of_one_stride():
    neck = MultiScaleProjector((16, 16), (16, 16), 12, (4, 8, 16, 32), num_blocks=1)
    outputs = neck((torch.rand(2, 16, 3, 5), torch.rand(2, 16, 3, 5)))
    assert [tuple(feat.shape) for feat in outputs] == [(2, 12, 12, 20), (2, 12, 6, 10), (2, 12, 3, 5), (2, 12, 2, 3)]
    assert neck.out_strides == (4, 8, 16, 32) and neck.out_channels == (12,) * 4
    sum(feat.square().sum() for feat in outputs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_the_projector_keeps_the_strides_of_a_pyramid_of_odd_sizes():
    neck = MultiScaleProjector((8, 12), (8, 16), 4, num_blocks=1)
    outputs = neck((torch.rand(1, 8, 9, 7), torch.rand(1, 12, 5, 4)))
    assert [tuple(feat.shape[2:]) for feat in outputs] == [(9, 7), (5, 4)]


def test_strides_that_no_power_of_two_joins_are_refused():
    with pytest.raises(ConfigError, match='stride 16 cannot be brought to stride 12'):
        MultiScaleProjector((16,), (16,), out_strides=(12,))


@pytest.mark.parametrize('size', [(5, 9), (12, 7), (7, 7), (1, 30)])
def test_weights_of_bicubic_interpolation_are_those_of_torch(size):
    table = torch.randn(1, 3, 7, 7)
    expected = torch.nn.functional.interpolate(table, size, mode='bicubic', antialias=True)
    rows, columns = (cubic_weights(7, side, table) for side in size)
    torch.testing.assert_close(rows @ table @ columns.T, expected, atol=2e-6, rtol=0)
    assert torch.equal(cubic_weights(7, 7, table), torch.eye(7))


@pytest.mark.parametrize('traced', [16, 32, 48])  # pixels: fewer patches than the table of positions, as many, more
def test_an_exported_network_takes_images_of_any_size(traced):
    # Exports trace it for one size; whether the table is reduced is decided by that of the image.
    embedding = small_vit().embed
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # on shapes that become constants, as those of the table do
        exported = torch.jit.trace(embedding, torch.zeros(1, 3, traced, traced), check_trace=False)
        for size in ((16, 16), (32, 32), (48, 48), (16, 64)):
            image = torch.rand(1, 3, *size)
            for found, expected in zip(exported(image), embedding(image), strict=True):
                torch.testing.assert_close(found, expected)


def test_layer_norm_takes_the_channels_of_each_cell():
    x = torch.randn(2, 6, 3, 4)
    found = LayerNorm2d(6)(x)
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-4, rtol=0)
