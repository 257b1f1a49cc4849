"""Extension of Sphinx that makes the site of the pages in ``docs``, which a code host shows as they are.

It writes the lessons' notebooks and the pages of the API to folders that git ignores. In three respects the site
differs from the pages: what is in a comment that begins with ``<!-- site`` is part of the page; an anchor in HTML,
which code hosts need, is a target of MyST; and the name of a public object in code is a link to its description.
"""

import importlib
import importlib.util
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import api_pages

LANGUAGES = {"en": "In English", "zh": "In Chinese (中文)"}

SITE_ONLY = re.compile(r"<!-- site\n(.*?)-->\n?", re.DOTALL)
ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>\n\n?', re.MULTILINE)
# An interval, such as [0.93, 0.96], or a deviation, such as ± 0.02: a line of a table does not break inside it.
INTERVAL = re.compile(r"\[[^\]]*\d[^\]]*\]|± \d")
# Characters from which on the text in a cell of a table is a long one.
LONG = 24
PUBLIC_NAME = re.compile(r"(?:hg|hourglass)((?:\.\w+)+)(?:\(\))?")


def for_site(text: str) -> str:
    """Return the text of a page as the site's."""
    return ANCHOR.sub(r"(\1)=\n", SITE_ONLY.sub(r"\1", text))


def lessons() -> dict[str, str]:
    """Return the notebooks of the package as JSON, by the names of their pages, which begin with the language.

    There are none where the package has no lessons, and fewer where some are not built.
    """
    if importlib.util.find_spec("hourglass.lessons") is None:
        return {}
    package = importlib.import_module("hourglass.lessons")
    folder = Path(str(package.__file__)).parent
    built = [name for name in package.LESSONS if (folder / f"{name}.ipynb").is_file()]
    return {
        f"lessons/{language}/{name}": json.dumps(package.notebook(name, language))
        for language in package.LANGUAGES
        for name in built
    }


def list_of_lessons(names: Iterable[str]) -> str:
    """Return the part of the lessons' page that lists the notebooks, in MyST."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.split("/")[1], []).append(name)
    parts = [
        "\n".join([f"## {LANGUAGES.get(language, language)}\n", "```{toctree}", ":maxdepth: 1\n", *members, "```\n"])
        for language, members in groups.items()
    ]
    return "\n".join(parts) or "This version of the package has no lesson.\n"


def list_of_packages() -> str:
    """Return the part of the API's first page that makes the others its children, in MyST."""
    return "\n".join(["```{toctree}", ":hidden:\n", *(f"api/{name}" for name in api_pages.PACKAGES), "```\n"])


def write_pages(app: Sphinx) -> None:
    """Write the lessons and the API's pages, before Sphinx looks for pages."""
    docs = Path(app.srcdir)
    for folder in ("lessons", "api"):
        shutil.rmtree(docs / folder, ignore_errors=True)
    files = {f"{name}.ipynb": text for name, text in lessons().items()}
    files |= {f"api/{name}.rst": text for name, text in api_pages.pages()}
    for name, text in files.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


def read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """Change the text of a page on its way to the parser."""
    if Path(app.env.doc2path(docname)).suffix != ".md":
        return
    content[0] = for_site(content[0])
    if docname == "lessons":
        content[0] += "\n" + list_of_lessons(lessons())
    elif docname == "api":
        content[0] += "\n" + list_of_packages()


def skip_member(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out of a class's page what it inherits from other packages."""
    owner = getattr(member, "__objclass__", None)  # of an attribute such as OSError's ``errno``
    if skip or not (callable(member) or owner):
        return None
    home = getattr(owner or member, "__module__", None) or ""
    return True if home.partition(".")[0] != "hourglass" else None


def link_names(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make the full name of a public object, where it stands in code, a link to its description."""
    objects = app.env.domains.python_domain.objects
    for node in list(doctree.findall(nodes.literal)):
        match = PUBLIC_NAME.fullmatch(node.astext())
        found = objects.get(f"hourglass{match[1]}") if match else None
        inside_link = isinstance(node.parent, nodes.reference | nodes.title)
        if found and not inside_link and found.docname != docname:
            link = make_refnode(app.builder, docname, found.docname, found.node_id, node.deepcopy())
            node.replace_self(link)


def fit_screens(app: Sphinx, doctree: nodes.document) -> None:
    """Prepare tables and figures for narrow screens.

    In tables an interval stays on one line, and long texts are marked, so that the stylesheet gives them room. A figure
    becomes a link to itself in full size.
    """
    for entry in doctree.findall(nodes.entry):
        if len(entry.astext()) >= LONG:
            entry["classes"].append("long")
        for node in list(entry.findall(nodes.Text)):
            whole = INTERVAL.sub(lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), node)
            if whole != node and not isinstance(node.parent, nodes.literal):
                node.parent.replace(node, nodes.Text(whole))
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            image.setdefault("scale", 100)


def find_described(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Resolve a reference to a public object by a name under which it is not described."""
    names = api_pages.described_names()
    target = node["reftarget"]
    name = names.get(f"{node.get('py:module')}.{target}") or names.get(target)
    if node.get("refdomain") != "py" or name is None:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", read_page)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("doctree-read", fit_screens)
    app.connect("doctree-resolved", link_names)
    app.connect("missing-reference", find_described)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
