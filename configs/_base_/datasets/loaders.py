"""The data loaders that every dataset fills in. Each name is a setting: ``--cfg-options batch_size=8 cache=ram``."""

batch_size = 16
val_batch_size = 16
num_workers = None  # one process a processor, 8 at most
cache = None  # 'ram' decodes every image once and keeps it
render_on = 'workers'  # 'device' draws whole training batches on the device of the run; needs cache='ram'
fraction = 1.0  # of the training images
max_skipped = 0.01  # the share of the data that may be unusable
split = None  # 0.8: train on this share of the training images, validate on the others in place of a validation set
split_group = None  # images to keep on one side: 'folder', or an expression for file names, such as '(.+)_frame'

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    render_on=render_on,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        cache=cache,
        fraction=fraction,
        max_skipped=max_skipped,
        subset=None if split is None else ('train', split),
        subset_group=split_group,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        max_skipped=max_skipped,
        test_mode=True,
        subset=None if split is None else ('val', split),
        subset_group=split_group,
    ),
)
test_dataloader = val_dataloader
