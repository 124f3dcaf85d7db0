"""An optimiser and a schedule of a user's own, and mistakes in them: text, text in its place, sentence."""

OPTIMISER = """
import torch
from torch.optim import Optimizer

from detkit.engine.schedule import WarmupDecay
from detkit.registry import OPTIMIZERS, PARAM_SCHEDULERS


@OPTIMIZERS.register_module()
class SignSGD(Optimizer):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    self.state[param].setdefault('signs', param.grad.sign()).copy_(param.grad.sign())
                    param.add_(self.state[param]['signs'], alpha=-group['lr'])


@PARAM_SCHEDULERS.register_module()
class Halves(WarmupDecay):
    def factor(self, iteration):
        return 0.5 ** iteration
"""
WRONG_STEPS = [
    ('Optimizer):', 'object):', 'optim_wrapper.optimizer.type: SignSGD is no torch.optim.Optimizer'),
    ('closure=None', 'closure', r'SignSGD has step\(self, closure\), but is called as step\(self\)'),
    (
        "-group['lr']",
        "-group['rate']",
        r"optim_wrapper.optimizer: SignSGD fails on two samples.*KeyError: 'rate' \(own_1",
    ),
    ("-group['lr']", "-float('nan')", 'SignSGD: a step makes weights infinite or not a number, of finite gradients'),
    ('            for param in', "            group['own'] = type\n            for param in", 'SignSGD.state_dict'),
    ('(WarmupDecay)', '', r'param_scheduler.type: Halves is no schedule; write class Halves\(WarmupDecay\)'),
    ('0.5 ** iteration', 'None', 'param_scheduler: Halves fails on two samples.*TypeError'),
    ('0.5 **', "float('nan') *", "Halves: the learning rate of 'weight' is nan in iteration 1, but rates are finite"),
    ('0.5 **', '-1 *', r"Halves: the learning rate of 'weight' is -0\.\d+ in iteration \d, but rates are finite and"),
]
