import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / 'examples'
QUICK = {
    'ec_gcn_loader.py': ['--epochs', '1', '--hidden_channels', '8'],
    'learned_links.py': ['--num_probes', '320'],
}


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob('*.py')} == set(QUICK)


@pytest.mark.parametrize('name', QUICK)
def test_example(name):
    out = subprocess.run(
        [sys.executable, '-W', 'ignore', EXAMPLES / name, *QUICK[name]],
        capture_output=True,
        text=True,
        timeout=300,
        env={'OMP_NUM_THREADS': '1', 'PATH': ''},
    )
    assert out.returncode == 0, out.stderr
    assert 'backbone: 70.0 / 85.8' in out.stdout
    assert len(re.findall(r'\d+\.\d / \d+\.\d', out.stdout)) == 2
