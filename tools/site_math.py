"""Extension of Sphinx by which the browser renders formulas, with the copy of KaTeX in ``docs/_static/katex``.

Only pages with formulas load it. Without JavaScript a reader sees the formula's LaTeX.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

STYLESHEETS = ("katex/katex.min.css",)
SCRIPTS = ("katex/katex.min.js", "formulas.js")
NUMBERED = re.compile(r"\\(begin|end)\{(align|alignat|equation|gather)\}")


def in_lines(latex: str) -> str:
    r"""Return a displayed formula as KaTeX reads it: lines, which ``\\`` ends, need an environment around them.

    An environment that KaTeX would number loses its numbers, because Sphinx numbers formulas.
    """
    parts = [NUMBERED.sub(r"\\\1{\2*}", part).strip() for part in latex.split("\n\n") if part.strip()]
    wrapped = [
        rf"\begin{{aligned}}{part}\end{{aligned}}" if r"\\" in part and r"\begin" not in part else part
        for part in parts
    ]
    return wrapped[0] if len(wrapped) == 1 else r"\begin{gathered}" + r" \\ ".join(wrapped) + r"\end{gathered}"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula in a line."""
    self.body.append(self.starttag(node, "span", "", CLASS="math"))
    self.body.append(f"{self.encode(node.astext())}</span>")
    raise nodes.SkipNode


def visit_displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on lines of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", "", CLASS="math-block"))
    self.body.append(f'<div class="math">{self.encode(in_lines(node.astext()))}</div>')
    if node.get("number"):
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, "Link to this formula")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def load_katex(
    app: Sphinx, _page: str, _template: str, _context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let a page with formulas load KaTeX."""
    if doctree and any(True for kind in (nodes.math, nodes.math_block) for _ in doctree.findall(kind)):
        for name in STYLESHEETS:
            app.add_css_file(name)
        for name in SCRIPTS:
            app.add_js_file(name, loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the renderer, by the name ``katex``."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_displayed, None))
    app.connect("html-page-context", load_katex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
