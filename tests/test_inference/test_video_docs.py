"""What the page on videos says works: its commands and its code, one after the other."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip('av')
pytest.importorskip('trackers')

from small_models import write_shallow_checkpoint
from videos import write_video

from detkit.cli.main import main
from detkit.registry import TRACKERS

PAGE = Path(__file__).parents[2] / 'docs' / 'video.md'


@pytest.mark.thorough
def test_the_commands_and_the_code_of_the_page_run(tmp_path, monkeypatch, capsys):
    TRACKERS.names()  # registers detkit's own
    monkeypatch.setattr(TRACKERS, '_module_dict', dict(TRACKERS.module_dict))
    monkeypatch.chdir(tmp_path)
    write_shallow_checkpoint(tmp_path / 'best.pth')
    write_video(tmp_path / 'clip.mp4', 6)
    text = PAGE.read_text(encoding='utf-8')
    commands = [line for line in text.splitlines() if line.startswith('detkit ')]
    assert [line.split()[1] for line in commands] == ['predict', 'track', 'count']
    for line in commands:
        assert main([*shlex.split(line)[1:], '--img-size', '64']) == 0
    made = ('predictions/clip.mp4', 'predictions/predictions.json', 'tracks/clip.mp4', 'tracks/clip.txt')
    made += ('counts/clip.csv', 'counts/clip.json', 'counts/clip.mp4', 'counts/clip.txt')
    assert [name for name in made if not (tmp_path / name).is_file()] == []
    code = '\n'.join(re.findall(r'```python\n(.*?)```', text, re.DOTALL))
    names = {}
    capsys.readouterr()
    exec(compile(code, str(PAGE), 'exec'), names)
    assert all(len(result) == len(set(result.names)) for result in names['results'])
    assert "'lines': {'gate':" in capsys.readouterr().out


def test_the_benchmark_of_memory_runs(repo, monkeypatch, capsys):
    """Memory is flat over 10,000 frames; here it is only that it is measured."""
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import video_memory

    if not Path('/proc/self/status').is_file():
        pytest.skip('memory is read from /proc')
    memory = video_memory.main(['--frames', '200', '--report', '100', '200'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('100 frames, ') and lines[1].startswith('200 frames, ') and len(memory) == 2
    assert memory[1] - memory[0] < 50
