"""``InstanceMasks``: predicted masks, each kept only inside its box."""
