"""The schedule by which the published YOLO26 were fine-tuned on COCO after 150 epochs of Objects365, batch 128.

The values are those of https://docs.ultralytics.com/guides/yolo26-training-recipe. Left out are those of settings that
are in no release of ultralytics: another weight of classes and of the one-to-many losses, and fewer candidates a box.
"""

_base_ = './yolo26_musgd_500e.py'

size = 'n'
# By size: epochs, learning rate and its last share, momentum, decay, and the weights of MuSGD's parts.
_schedules = dict(
    n=(245, 0.0054, 0.0495, 0.947, 0.00064, 0.528, 0.674),
    s=(70, 0.00038, 0.882, 0.948, 0.00027, 0.436, 0.479),
    m=(80, 0.00038, 0.882, 0.948, 0.00027, 0.436, 0.479),
    l=(60, 0.00038, 0.882, 0.948, 0.00027, 0.436, 0.479),
    x=(40, 0.00038, 0.882, 0.948, 0.00027, 0.436, 0.479),
)
max_epochs, _lr, _final_factor, _momentum, _decay, _muon, _sgd = _schedules[size]

optim_wrapper = dict(
    optimizer=dict(lr=_lr, momentum=_momentum, weight_decay=_decay, muon=_muon, sgd=_sgd),
)
param_scheduler = dict(warmup_epochs=1, final_factor=_final_factor)
