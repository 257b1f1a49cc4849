"""Settings of Sphinx, which makes a site of these pages; ``scripts/docs`` builds it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tools"))

import hourglass  # noqa: E402  # after the path

project = "hourglass"
author = "The hourglass developers"
version = release = hourglass.__version__
language = "en"
smartquotes = False  # The names of choices, as in {"mse", "bce"}, are to be copied.

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "sphinx_copybutton",
    "site_math",
    "site_pages",
]
exclude_patterns = ["results", "_static"]
# Names whose documentation is elsewhere. A build does not ask other hosts for their indices.
nitpick_ignore_regex = [("py:.*", r"(torch|numpy|sklearn|matplotlib|PIL)\..*")]

# Pages, and notebooks as they are stored.
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

# The API: types are in the descriptions of the parameters.
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_math_renderer = "katex"
html_theme = "furo"
html_title = "hourglass"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#9a5b13", "color-brand-content": "#8a4f0d"},
    "dark_css_variables": {"color-brand-primary": "#e0a458", "color-brand-content": "#e8b26b"},
}
pygments_style = "default"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
