"""The sizes of YOLO11 (https://docs.ultralytics.com/models/yolo11): ``--cfg-options size=m``, in any of its configs."""

# By size: deepen_factor, widen_factor, max_channels, and the inner block of C3k2 where small sizes have bottlenecks.
sizes = dict(
    n=(0.50, 0.25, 1024, 'bottleneck'),
    s=(0.50, 0.50, 1024, 'bottleneck'),
    m=(0.50, 1.00, 512, 'c3k'),
    l=(1.00, 1.00, 512, 'c3k'),
    x=(1.00, 1.50, 512, 'c3k'),
)
size = 'n'
deepen_factor, widen_factor, max_channels, inner = sizes[size]

backbone = dict(
    type='CSPDarknet',
    deepen_factor=deepen_factor,
    widen_factor=widen_factor,
    max_channels=max_channels,
    stage_channels=(256, 512, 512, 1024),
    conv_channels=(128, 256, 512, 1024),
    stage_blocks=(2, 2, 2, 2),
    block=[
        dict(type='C3k2', expansion=0.25, inner=inner),
        dict(type='C3k2', expansion=0.25, inner=inner),
        dict(type='C3k2', inner='c3k'),
        dict(type='C3k2', inner='c3k'),
    ],
)
attention = dict(type='LastBlock', num_blocks=2, deepen_factor=deepen_factor, block=dict(type='C2PSA'))
