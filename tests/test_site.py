"""The site: pages are found, their links lead somewhere, nothing is loaded from another host, the API is complete."""

import hashlib
import importlib
import importlib.machinery
import inspect
import re
import subprocess
import sys
import types
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "tools"))

import api_pages  # noqa: E402  # from tools
import check_site  # noqa: E402  # of the folder that was added
import site_math  # noqa: E402  # of the folder that was added
import site_pages  # noqa: E402  # of the folder that was added

PAGES = sorted(DOCS.glob("*.md"))
# Pages at the top of the repository, which pages of the site include.
PAGES_ABOVE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
FENCE = re.compile(r"^(```+).*?^\1\s*$", re.DOTALL | re.MULTILINE)


def prose(path):
    """The text of a page without its code and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", path.read_text(encoding="utf-8")), flags=re.DOTALL)


def anchors(path):
    """The anchors that a code host gives a page: its headings', and those in HTML."""
    counts, found = Counter(), set()
    for title in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return found | set(re.findall(r'<a id="([^"]+)">', prose(path)))


def test_every_page_is_in_one_table_of_contents():
    text = site_pages.for_site((DOCS / "index.md").read_text(encoding="utf-8"))
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(path.stem for path in PAGES if path.stem != "index")


@pytest.mark.parametrize("path", [*PAGES, *PAGES_ABOVE], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]*)\)", prose(path)):
        if re.match(r"https?://", target):
            continue
        name, _, fragment = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{path.name} links to {target}, which is not there"
        assert file.is_file() or path.name == "README.md", f"{path.name} links to {target}; the site has no folders"
        assert not fragment or fragment in anchors(file), f"{path.name} links to {target}, an anchor that is not there"
        above = file.parent == ROOT and path.parent == DOCS
        assert not above, f"{path.name} links to {target}, which the site does not have"


@pytest.mark.parametrize("path", [*PAGES, *PAGES_ABOVE], ids=lambda path: path.name)
def test_headings_begin_with_the_title_and_skip_no_level(path):
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose(path), re.MULTILINE)]
    if "{include}" not in path.read_text(encoding="utf-8"):
        assert levels[0] == 1
    assert levels.count(1) <= 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_what_is_for_the_site_alone_is_invisible_elsewhere():
    text = 'a\n\n<!-- site\n```{toctree}\nb\n```\n-->\n\n<a id="bn-x"></a>\n\n## Title\n'
    assert site_pages.for_site(text) == "a\n\n```{toctree}\nb\n```\n\n(bn-x)=\n## Title\n"
    for path in PAGES:
        assert "{toctree}" not in prose(path)


def test_lessons_are_pages_by_language_if_they_are_there(tmp_path, monkeypatch):
    package = types.ModuleType("hourglass.lessons")
    package.__file__ = str(tmp_path / "__init__.py")
    package.__spec__ = importlib.machinery.ModuleSpec("hourglass.lessons", None)
    package.LESSONS, package.LANGUAGES = ("1-moments", "2-inference"), ("en", "zh")
    package.notebook = lambda name, language: {"cells": [f"{name} in {language}"]}
    monkeypatch.setitem(sys.modules, "hourglass.lessons", package)
    assert site_pages.lessons() == {}
    (tmp_path / "1-moments.ipynb").touch()
    found = site_pages.lessons()
    assert found == {
        "lessons/en/1-moments": '{"cells": ["1-moments in en"]}',
        "lessons/zh/1-moments": '{"cells": ["1-moments in zh"]}',
    }
    english, chinese = site_pages.list_of_lessons(found).split("## In Chinese")
    assert "\nlessons/en/1-moments\n" in english
    assert "\nlessons/zh/1-moments\n" in chinese
    assert "no lesson" in site_pages.list_of_lessons([])


@pytest.mark.parametrize("package", api_pages.PACKAGES)
def test_the_api_has_every_public_name_with_words(package):
    entries = api_pages.entries()[package]
    module = importlib.import_module(package)
    assert [id(entry.value) for entry in entries] == [
        id(getattr(module, name)) for name in api_pages.public_names(package)
    ]
    assert not [entry.name for entry in entries if not api_pages.summary(entry)], "no summary"
    assert f"\n- `{package}`: " in (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_api_has_a_page_for_each_package_and_class_and_describes_each_object_once():
    pages = dict(api_pages.pages())
    assert len({name.lower() for name in pages}) == len(pages), (
        "names that differ in case alone are one file on some disks"
    )
    text = "\n".join(pages.values())
    found = re.findall(r"^\.\. (?:autoclass|autofunction):: ([\w.]+)", text, re.MULTILINE)
    constants = re.findall(r"^\.\. py:data:: (\w+)\n   :module: ([\w.]+)$", text, re.MULTILINE)
    described = Counter([*found, *(f"{package}.{name}" for name, package in constants)])
    entries = {entry.name: entry for chosen in api_pages.entries().values() for entry in chosen}
    assert set(described) == {name for name, entry in entries.items() if not inspect.ismodule(entry.value)}
    assert set(described.values()) == {1}
    for name in ("hourglass.run", "hourglass.Run", "hourglass.nn.NORMS", "hourglass.metrics.psnr"):
        assert name in described


def test_public_packages_are_those_with_a_list_of_names():
    source = ROOT / "src" / "hourglass"
    listing = {
        ".".join(["hourglass", *path.parent.relative_to(source).parts])
        for path in source.rglob("__init__.py")
        if re.search(r"^__all__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert listing - {"hourglass.cli"} == {
        name for name in api_pages.PACKAGES if hasattr(importlib.import_module(name), "__all__")
    }


OUTSIDE = [
    ('a.html', '<script src="https://cdn.example/x.js"></script>'),
    ('a.html', '<script src=" //cdn.example/x.js"></script>'),
    ('a.html', '<script type="module">import x from "https://cdn.example/x.js"</script>'),
    ('a.html', '<script>const x = await import("https://cdn.example/x.js")</script>'),
    ('a.html', '<link rel="stylesheet" href="https://cdn.example/x.css">'),
    ('a.html', '<link rel="preconnect" href="https://fonts.example">'),
    ('a.html', '<LINK HREF="http:\\\\cdn.example/x.css" REL="alternate stylesheet">'),
    ('a.html', '<img src="http://cdn.example/x.png">'),
    ('a.html', '<img src="x.png" srcset="x.png 1x, https://cdn.example/x.png 2x">'),
    ('a.html', '<video poster="https://cdn.example/x.png"></video>'),
    ('a.html', '<iframe src="https://cdn.example/"></iframe>'),
    ('a.html', '<iframe srcdoc="&lt;img src=https://cdn.example/x.png&gt;"></iframe>'),
    ('a.html', '<object data="https://cdn.example/x.svg"></object>'),
    ('a.html', '<base href="https://cdn.example/">'),
    ('a.html', '<meta http-equiv="refresh" content="0; url=https://cdn.example/">'),
    ('a.html', '<p style="background: url(https://cdn.example/x.png)">'),
    ('a.html', '<style>@import "https://fonts.example/css";</style>'),
    ('a.html', '<svg><image href="https://cdn.example/x.png"/></svg>'),
    ('a.svg', '<svg><style>@import url(https://fonts.example/css)</style></svg>'),
    ('a.svg', '<svg><image xlink:href="https://cdn.example/x.png"/></svg>'),
    ('a.css', '@import url("//fonts.example/css");'),
    ('a.css', "@font-face { src: URL( 'https://fonts.example/x.woff2' ) format('woff2') }"),
    ('a.js', 'import{a}from"https://cdn.example/x.js"'),
    ('a.js', 'const s = document.createElement("script"); s.src = "https://cdn.example/x.js"'),
]  # fmt: skip
INSIDE = [
    ('a.html', '<a href="https://example.org/">a link</a> <p>https://example.org/x.js</p>'),
    ('a.html', '<script src="../_static/x.js"></script> <link rel="stylesheet" href="x.css?v=1">'),
    ('a.html', '<link rel="canonical" href="https://example.org/"> <img src="data:image/png;base64,AAAA">'),
    ('a.html', '<pre>@import "https://example.org/x.css"; url(https://example.org)</pre>'),
    ('a.svg', '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>'),
    ('a.css', '/* url(https://example.org) */ a { background: url(data:image/png;base64,AA) }'),
    ('a.js', '// from https://example.org\nconst about = "https://example.org"; import("./x.js")'),
    ('a.txt', '<script src="https://cdn.example/x.js"></script>'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), OUTSIDE)
def test_what_a_page_would_load_from_another_host_is_found(name, text):
    assert len(check_site.outside(name, text)) == 1


@pytest.mark.parametrize(("name", "text"), INSIDE)
def test_links_and_what_is_in_the_site_are_no_fault(name, text):
    assert check_site.outside(name, text) == []


def test_a_site_is_checked_for_links_that_lead_nowhere(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<h1 id="title">b</h1> <a href="../a.html#here">a</a>')
    page = '<p id="here"><a href="sub/b.html#title"> <a href="#here"> <a href="#"> <a href="mailto:x"> <a href="#top">'
    (tmp_path / "a.html").write_text(page)
    assert check_site.check(tmp_path) == []
    more = '<a href="c.html"> <a href="sub/b.html#nothing"> <img src="x.png"> <a href="../up.html"> <a href="sub">'
    (tmp_path / "a.html").write_text(page + more + '<script src="//cdn.example/x.js"></script>')
    nowhere = [
        f"a.html: {address} leads nowhere" for address in ("c.html", "sub/b.html#nothing", "../up.html", "sub", "x.png")
    ]
    assert sorted(check_site.check(tmp_path)) == sorted(
        [*nowhere, "a.html: loads //cdn.example/x.js from another host"]
    )


def test_a_folder_without_pages_is_a_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_site.py", str(tmp_path)])
    assert check_site.main() == 1
    assert "no page" in capsys.readouterr().err


def test_the_copy_of_katex_is_the_published_one():
    folder = DOCS / "_static" / "katex"
    sums = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {
        "SHA256SUMS",
        "README.md",
    }
    assert files == set(sums)
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name
    fonts = re.findall(r"url\((fonts/[\w-]+\.woff2)\)", (folder / "katex.min.css").read_text())
    assert fonts
    assert set(fonts) <= files


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("a = b", "a = b"),
        (r"a &= b \\ c &= d", r"\begin{aligned}a &= b \\ c &= d\end{aligned}"),
        (r"\begin{align} a &= b \\ c &= d \end{align}", r"\begin{align*} a &= b \\ c &= d \end{align*}"),
        ("a = b\n\nc = d\n", r"\begin{gathered}a = b \\ c = d\end{gathered}"),
    ],
)
def test_formulas_of_several_lines_get_an_environment_that_katex_knows(latex, expected):
    assert site_math.in_lines(latex) == expected


@pytest.mark.slow
def test_the_site_is_built_strictly():
    done = subprocess.run([ROOT / "scripts" / "docs"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = ROOT / "build" / "site"
    page = (site / "api" / "hourglass.nn.ManualBatchNorm.html").read_text(encoding="utf-8")
    assert '<div class="math">' in page
    assert "katex/katex.min.js" in page
    assert "katex" not in (site / "guide.html").read_text(encoding="utf-8")
    assert 'href="api/hourglass.html#hourglass.denoise"' in (site / "denoising.html").read_text(encoding="utf-8")
    assert (site / "lessons.html").is_file()
