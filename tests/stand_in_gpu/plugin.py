r"""Runs the tests with the fixture ``gpu`` where there is none,
``python -m pytest -p tests.stand_in_gpu.plugin``.

Tensors say that they are on a GPU and are computed on the CPU, see
:class:`~tests.stand_in_gpu.tensor.StandIn`. That shows that tensors are where
operations want them, that no step calls an operation known to wait, and what results
would be if a GPU rounded as a CPU does. It does not show time, rounding, kernels that
a GPU lacks, or the optimizers' loops over all parameters at once.

Needs a C++ compiler, and the CPU build of PyTorch that is in ``constraints.txt``: it
relies on parts of PyTorch that are not public.
"""

import ctypes
import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest


def pytest_load_initial_conftests():
    _register_gpu()  # before PyTorch looks for one
    from tests.stand_in_gpu.install import install

    install()


def pytest_collection_modifyitems(config, items):
    others = [item for item in items if 'gpu' not in item.fixturenames]
    items[:] = [item for item in items if 'gpu' in item.fixturenames]
    config.hook.pytest_deselected(items=others)


def _register_gpu():
    spec = find_spec('torch')
    root = Path(spec.submodule_search_locations[0])
    if Path(root, 'lib', 'libtorch_cuda.so').exists():
        raise pytest.UsageError('a stand-in for a GPU needs PyTorch without CUDA')
    source = Path(__file__).with_name('guard.cpp')
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, 'guard.so')
        options = ['-std=c++20', '-shared', '-fPIC', f'-I{root}/include']
        links = ['-Wl,--no-as-needed', f'-L{root}/lib', f'-Wl,-rpath,{root}/lib']
        compiler = os.environ.get('CXX', 'c++')
        subprocess.run(
            [compiler, *options, source, '-o', library, *links, '-lc10', '-ltorch_cpu'],
            check=True,
        )
        ctypes.CDLL(str(library))
