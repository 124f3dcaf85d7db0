"""Numbers of channels, layers and noise that no network can be built of are refused when a config is read."""

import pytest

from detkit.config import load_config
from detkit.utils.errors import ConfigError

DFINE, RFDETR, DEIM = 'dfine/seg_n_coco8', 'rfdetr/seg_tiny_coco8', 'deimv2/det_pico_coco8'


@pytest.mark.parametrize(
    ('name', 'option', 'sentence'),
    [
        (DEIM, '+model.backbone.in_channels=1', 'backbone.in_channels is 1, but images have 3 channels, grey ones too'),
        (DEIM, '+model.backbone.in_channels=-1', 'HGNetV2 takes in_channels at least 1; found -1'),
        (
            'yolov8/det_n_coco8',
            '+model.backbone.in_channels=4',
            'backbone.in_channels is 4, but images have 3 channels',
        ),
        (DEIM, 'model.neck.out_channels=1', 'and so no values: what its width is computed from'),
        (
            DEIM,
            '+model.neck.block.in_channels=7',
            'RepNCSPELAN4: in_channels is 7, but the component that holds it has',
        ),
        (DEIM, '+model.neck.block.out_channels=7', 'RepNCSPELAN4: out_channels is 7, but the component that holds it'),
        (
            DFINE,
            '+model.neck.downsample.out_channels=7',
            'options: model.neck.downsample.out_channels: SCDown: out_channels is 7, but the component that holds it',
        ),
        (DFINE, 'model.neck.block.expansion=0', 'RepNCSPELAN4 takes expansion above 0; found 0'),
        (DFINE, '+model.neck.num_blocks=-1', 'HybridEncoder takes num_blocks at least 0; found -1'),
        (DFINE, '+model.neck.num_encoder_layers=-1', 'HybridEncoder takes num_encoder_layers at least 0; found -1'),
        (
            DFINE,
            'model.head.decoder.feedforward_dims=0',
            'DistributionDecoder takes feedforward_dims at least 1; found 0',
        ),
        (
            DFINE,
            'model.head.decoder.num_points=[6, 0]',
            'DistributionDecoder takes num_points at least 1; found [6, 0]',
        ),
        (DFINE, 'model.head.decoder.reg_scale=0', 'DistributionDecoder takes reg_scale above 0; found 0'),
        (DFINE, 'model.head.decoder.up=-0.5', 'DistributionDecoder takes up above 0; found -0.5'),
        (DFINE, '+model.head.box_noise=-1', 'takes box_noise at least 0; found -1'),
        (DFINE, '+model.head.label_noise=2.5', 'takes label_noise from 0 to 2; found 2.5'),
        (DFINE, '+model.neck.encoder_levels=[-1, 1]', 'HybridEncoder: encoder_levels (-1, 1) names a map twice'),
        (DFINE, 'model.head.mask_stride=1000', 'takes mask_stride from 1 to 64; found 1000'),
        (RFDETR, '+model.neck.out_strides=[16, 8]', 'MultiScaleProjector: out_strides must ascend and be at least 1'),
        (RFDETR, '+model.neck.out_strides=[0]', 'MultiScaleProjector: out_strides must ascend and be at least 1'),
        (RFDETR, '+model.backbone.mlp_ratio=0', 'WindowedViT takes mlp_ratio above 0; found 0'),
        (RFDETR, '+model.backbone.mlp_ratio=0.001', 'and so no values: what its width is computed from'),
        (RFDETR, '+model.data_preprocessor.size_divisor=0', 'takes size_divisor from 1 to 4096; found 0'),
    ],
)
@pytest.mark.filterwarnings('ignore:Initializing zero-element tensors')
def test_a_network_without_values_is_refused(name, option, sentence):
    with pytest.raises(ConfigError) as caught:
        load_config(name, [option])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        (RFDETR, '+model.neck.act'),
        (DFINE, '+model.head.act'),
        (DFINE, 'model.neck.downsample.act'),
        (DEIM, '+model.neck.act'),
    ],
)
@pytest.mark.parametrize(
    ('value', 'text'), [('0', 'act is 0; it must be a name such as'), ('Relu', "no activation 'Relu'")]
)
def test_activations_that_are_not_there(name, key, value, text):
    """The key is named also where the part that takes it is a default of the one that has it."""
    with pytest.raises(ConfigError) as caught:
        load_config(name, [f'{key}={value}'])
    assert str(caught.value).startswith(f'options: {key.lstrip("+")}: ') and text in str(caught.value)


def test_channels_that_agree_with_the_block_are_kept():
    config = load_config(
        'rtdetr/det_r18_coco8', ['+model.neck.block.in_channels=256', '+model.neck.block.num_blocks=2']
    )
    assert config.model.neck.block.in_channels == 256


def test_a_key_that_may_be_added_is_what_is_meant():
    """No key is guessed where the very one that was written would be accepted behind a '+'."""
    with pytest.raises(ConfigError) as caught:
        load_config(DEIM, ['model.data_preprocessor.multi_scale=(0.5, 2.0)'])
    assert str(caught.value).endswith('To add a key, write +model.data_preprocessor.multi_scale=(0.5, 2.0)')
