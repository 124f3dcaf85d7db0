"""``detkit zoo``: what it prints, and backbones whose weights have a name."""

import hashlib
from collections import defaultdict

import pytest
import torch
from file_server import Served

from detkit.cli.main import main
from detkit.models.backbones import Darknet, ResNet
from detkit.zoo.cache import cache_folder


def test_list_and_show(capsys):
    assert main(['zoo', 'list', '--family', 'detr', '--task', 'det']) == 0
    printed = capsys.readouterr().out
    assert 'detr-r50' in printed and 'yolov8n' not in printed and 'Apache-2.0' in printed
    assert main(['zoo', 'show', 'yolov8n-seg', 'darknet53.conv.74']) == 0
    printed = capsys.readouterr().out
    assert 'box mAP 36.7, mask mAP 30.5' in printed and 'AGPL-3.0: programs' in printed
    assert 'use        model.backbone.weights=darknet53.conv.74' in printed and 'SHA-256 a7cd8f92' in printed


def test_mistakes_are_sentences(capsys):
    assert main(['zoo', 'show', 'yolov8q']) == 2
    assert "no weights named 'yolov8q'" in capsys.readouterr().err
    assert main(['zoo', 'fetch', 'yolov8n', 'yolov8s', '--file', 'x.pt']) == 2
    assert 'several names' in capsys.readouterr().err
    assert main(['zoo', 'fetch', 'yolov8n', '--file', 'none.pt']) == 2
    assert 'none.pt does not exist' in capsys.readouterr().err


def test_a_backbone_starts_from_named_weights(server, tmp_path, monkeypatch, capsys):
    reference = ResNet(18)
    path = tmp_path / 'r18.pth'
    torch.save(reference.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    table = tmp_path / 'own.yaml'
    table.write_text(
        'families:\n- {family: R, converter: none, licence: Apache-2.0, task: backbone, '
        f"url: '{server.url}/{{name}}.pth', entries: {{mine-r18: {{sha256: '{digest}'}}}}}}\n"
    )
    monkeypatch.setenv('DETKIT_ZOO_FILE', str(table))
    monkeypatch.delenv('DETKIT_ZOO_URL')
    server.files['/mine-r18.pth'] = Served(path.read_bytes())
    assert main(['zoo', 'fetch', 'mine-r18']) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(cache_folder() / 'zoo' / 'mine-r18' / 'mine-r18.pth') and 'Apache-2.0' in err
    backbone = ResNet(18, weights='mine-r18')
    backbone.init_weights()
    state = backbone.state_dict()
    for name, value in reference.state_dict().items():
        assert torch.equal(state[name], value), name
    assert len(server.requests) == 1


@pytest.mark.thorough
def test_darknet_s_own_backbone(server, monkeypatch, tmp_path):
    from detkit.converters.darknet import DARKNET_EPS, Header, Layout, to_stream

    reference = Darknet(53)
    values = to_stream(Layout(reference).layers, reference.state_dict(), defaultdict(lambda: DARKNET_EPS))
    table = tmp_path / 'own.yaml'
    table.write_text(
        'families:\n- {family: D, converter: darknet, licence: public domain, task: backbone, '
        f"url: '{server.url}/{{name}}', entries: {{my53.conv.74: {{}}}}}}\n"
    )
    monkeypatch.setenv('DETKIT_ZOO_FILE', str(table))
    monkeypatch.delenv('DETKIT_ZOO_URL')
    server.files['/my53.conv.74'] = Served(Header().to_bytes() + values.tobytes())
    backbone = Darknet(53, weights='my53.conv.74')
    backbone.init_weights()
    assert torch.equal(backbone.state_dict()['stem.conv.weight'], reference.state_dict()['stem.conv.weight'])
