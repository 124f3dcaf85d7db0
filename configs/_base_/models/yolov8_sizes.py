"""The sizes of YOLOv8 (https://docs.ultralytics.com/models/yolov8): ``--cfg-options size=m``, in any of its configs."""

# By size: deepen_factor, widen_factor, max_channels.
sizes = dict(
    n=(0.33, 0.25, 1024),
    s=(0.33, 0.50, 1024),
    m=(0.67, 0.75, 768),
    l=(1.00, 1.00, 512),
    x=(1.00, 1.25, 512),
)
size = 'n'
deepen_factor, widen_factor, max_channels = sizes[size]
