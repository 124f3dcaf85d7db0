"""``LossLog``: what heads report, on its way to the log."""

import pytest
import torch

from detkit.engine.loss_log import LossLog, NonFiniteLossError


def outputs(**values: float) -> dict[str, torch.Tensor]:
    return {'loss': torch.tensor(0.0), **{name: torch.tensor(value) for name, value in values.items()}}


def test_means_are_over_images():
    log = LossLog()
    log.add(0, outputs(loss_box=6.0, top1=0.5), 6, [])
    log.add(1, outputs(loss_box=4.0, top1=1.0), 2, [])
    log.read()
    assert log.latest == {'box': 2.0, 'top1': 1.0}
    assert log.means() == pytest.approx({'box': 10 / 8, 'top1': (0.5 * 6 + 1 * 2) / 8})
    log.reset()
    log.add(2, outputs(loss_box=4.0, top1=0.25), 4, [], divisor=1)
    log.read()
    assert log.means() == {'box': 4.0, 'top1': 0.25}


def test_it_goes_on_where_it_was_saved():
    log, other = LossLog(), LossLog()
    log.add(0, outputs(loss_box=6.0, top1=0.5), 6, [])
    other.load_state_dict(log.state_dict())
    for each in (log, other):
        each.add(1, outputs(loss_box=4.0, top1=1.0), 2, [])
        each.read()
    assert other.means() == log.means() == {'box': 10 / 8, 'top1': 5 / 8}


def test_only_losses_must_be_finite():
    log = LossLog()
    log.add(0, outputs(loss_box=1.0, overlap=float('nan')), 1, ['a.jpg'])
    log.read()
    log.add(1, outputs(loss_box=float('inf'), overlap=float('nan')), 1, ['b.jpg'])
    with pytest.raises(NonFiniteLossError, match=r'iteration 2: loss_box is infinite.*Its images: b\.jpg'):
        log.read()
    log.add(2, outputs(loss_box=1.0, overlap=1.0), 1, ['c.jpg'], grad_norm=torch.tensor(float('nan')))
    with pytest.raises(NonFiniteLossError, match='gradient norm is infinite'):
        log.read()


def test_the_message_names_a_checkpoint_that_is_there(tmp_path):
    log = LossLog(tmp_path / 'last.pth')
    for text in ('No checkpoint has been written yet', 'last.pth is from before'):
        log.add(1, outputs(loss_box=float('inf')), 1, ['b.jpg'])
        with pytest.raises(NonFiniteLossError, match=text):
            log.read()
        (tmp_path / 'last.pth').write_bytes(b'')
