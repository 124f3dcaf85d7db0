"""The keys that mean something at a config's top level."""

# Each describes components. A child file's dict is merged into its base's, and nothing follows from a new value.
COMPONENT_KEYS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'val_evaluator',
    'test_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'default_hooks',
    'custom_hooks',
    'custom_imports',
    'env_cfg',
    'randomness',
    'visualizer',
)
