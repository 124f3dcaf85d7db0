"""YOLO26's schedule with MuSGD (https://arxiv.org/abs/2606.03748), which has the triple rate in the class branches."""

_base_ = './yolo26_500e.py'

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='MuSGD', lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4, muon=0.2, sgd=1.0
    ),
    paramwise_cfg=dict(lr_mult=_base_.class_lr_mult),
)
param_scheduler = dict(warmup_bias_lr=0.1)
