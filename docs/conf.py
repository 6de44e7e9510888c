"""Builds the documentation: ``python -m sphinx -W -b html docs docs/_build/html``."""

import torch_geometric_reid

project = 'torch_geometric_reid'
author = 'The torch_geometric_reid developers'
copyright = f'2026, {author}'
version = release = torch_geometric_reid.__version__

extensions = [
    'sphinx.ext.autodoc',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
exclude_patterns = ['_build']
add_module_names = False
default_role = 'any'
maximum_signature_line_length = 110

autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ['Shapes']

html_theme = 'furo'
html_title = f'{project} {release}'
html_show_sphinx = False
