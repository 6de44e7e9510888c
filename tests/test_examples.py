import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / 'examples'
SMALL = ['--epochs', '1', '--hidden_channels', '8']
QUICK = {  # arguments, and the number of methods whose mAP / Rank-1 is printed
    'custom_conv.py': (SMALL, 4),
    'ec_gcn_loader.py': (SMALL, 2),
    'explain_probe.py': (['--steps', '2'], 0),
    'fa_layer.py': (['--steps', '2'], 2),
    'k_reciprocal.py': ([], 4),
    'learned_links.py': (['--num_probes', '320'], 2),
    'lightning_sampler.py': (SMALL, 2),
    'rerank_arrays.py': (['--num_probes', '320'], 4),
}
METRICS = re.compile(r'^(.+): (\d+\.\d / \d+\.\d)$', re.M)


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob('*.py')} == set(QUICK)


@pytest.mark.parametrize('name', QUICK)
def test_example(name, monkeypatch, capsys):
    arguments, num_methods = QUICK[name]
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    with torch.random.fork_rng():
        runpy.run_path(str(EXAMPLES / name), run_name='__main__')
    out = capsys.readouterr().out
    printed = dict(METRICS.findall(out))
    assert len(printed) == num_methods

    # The docstring's figures are those of the same methods, all probes and steps.
    text = (EXAMPLES / name).read_text()
    assert text.count('\n') <= 100
    stated = dict(METRICS.findall(text))
    assert stated.keys() == printed.keys()
    if num_methods:
        assert stated['backbone'] == printed['backbone'] == '70.0 / 85.8'
    else:
        assert len(re.findall(r'^\d\.\d\d .+ -> .+$', out, re.M)) == 3
