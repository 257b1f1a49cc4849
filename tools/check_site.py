"""Check a built site: nothing is loaded from another host, and every link inside the site leads somewhere.

Usage: tools/check_site.py FOLDER. Links to other hosts are allowed, because a browser follows them only when the reader
asks for it. Scripts, stylesheets, images, fonts and frames from other hosts are not allowed: that host would learn who
reads which page, and a reader without the network would see another page.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose value is loaded together with the page; ``srcset`` has several values.
LOADED = {"src", "srcset", "poster", "data", "background", "xlink:href"}
# Elements of SVG whose ``href`` is loaded, which in HTML only a link's is.
LOADING_BY_HREF = {"image", "use", "script", "feimage"}
# Relations of a ``link`` that load nothing.
QUIET = {"alternate", "author", "canonical", "help", "index", "license", "next", "prev", "search", "up"}

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
URL = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"'\s]*))\s*\)""", re.IGNORECASE)
IMPORT = re.compile(r"""@import\s+(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
# What a script loads by a literal address; addresses in its comments and texts do not count.
SCRIPT = re.compile(r"""(?:\bimport\b\s*\(?|\bfrom\b|\bimportScripts\(|\bfetch\(|\.src\s*=)\s*["'`]([^"'`]*)["'`]""")


def is_outside(address: str) -> bool:
    """Whether a browser would ask another host for an address."""
    address = re.sub(r"[\t\n\r]", "", address).strip().replace("\\", "/")
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ftp", "ws", "wss"}


def of_style(text: str) -> list[str]:
    """Return the addresses that a stylesheet loads."""
    text = COMMENT.sub("", text)
    return ["".join(groups) for groups in (*URL.findall(text), *IMPORT.findall(text))]


def of_script(text: str) -> list[str]:
    """Return the addresses that a script loads, as far as they are written out."""
    return SCRIPT.findall(text)


class Page(HTMLParser):
    """What a page or an SVG image loads, which links it has, and which anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses in the attributes of an element."""
        values = {name: value or "" for name, value in attrs}
        self._inside = tag if tag in ("style", "script") else ""
        self.anchors |= {values[name] for name in ("id", "name") if name in values and (name == "id" or tag == "a")}
        for name in LOADED & set(values):
            self.loaded += self._addresses(name, values[name])
        self.loaded += of_style(values.get("style", ""))
        self.loaded += Page(values["srcdoc"]).loaded if "srcdoc" in values else []
        if "href" in values:
            href = values["href"]
            quiet = set(values.get("rel", "").lower().split()) <= QUIET
            if tag in LOADING_BY_HREF or (tag == "link" and not quiet):
                self.loaded.append(href)
            elif tag != "base":
                self.links.append(href)
            else:  # All relative addresses of the page would begin with it.
                self.loaded.append(href)
        if tag == "meta" and values.get("http-equiv", "").lower() == "refresh":
            self.loaded += [part.partition("=")[2].strip("'\" ") for part in values.get("content", "").split(";")[1:]]

    @staticmethod
    def _addresses(name: str, value: str) -> list[str]:
        if name != "srcset":
            return [value]
        return [part.split()[0] for part in re.split(r",\s+", value) if part.strip()]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses of an element without content."""
        self.handle_starttag(tag, attrs)
        self._inside = ""

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Collect the addresses in the text of a stylesheet or script."""
        if self._inside:
            self.loaded += (of_style if self._inside == "style" else of_script)(data)


def outside(name: str, text: str) -> list[str]:
    """Return the addresses on other hosts that a file of the site loads.

    ``name`` is the file's name, whose ending says what it is.
    """
    kind = Path(name).suffix.lower()
    if kind in (".html", ".svg"):
        found = Page(text).loaded
    elif kind == ".css":
        found = of_style(text)
    else:
        found = of_script(text) if kind in (".js", ".mjs") else []
    return [address for address in found if is_outside(address)]


def broken(root: Path, page: Path, pages: dict[Path, Page]) -> list[str]:
    """Return the addresses inside the site, linked or loaded by a page, that lead nowhere.

    Parameters
    ----------
    root : Path
        Folder of the site.
    page : Path
        The page.
    pages : dict
        Every page of the site, read.

    Returns
    -------
    list of str
        The addresses as they are written in the page.
    """
    wrong = []
    for address in [*pages[page].links, *pages[page].loaded]:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        target = (root / path.lstrip("/") if path.startswith("/") else page.parent / path) if path else page
        target = target.resolve()
        fragment = unquote(parts.fragment)
        there = target.is_relative_to(root.resolve()) and target.is_file()
        if not there or (fragment and target in pages and fragment not in pages[target].anchors | {"top"}):
            wrong.append(address)
    return wrong


def check(root: Path) -> list[str]:
    """Return what is wrong with a built site, one line each."""
    root = root.resolve()
    files = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*")) if path.suffix.lower() in KINDS}
    pages = {path: Page(text) for path, text in files.items() if path.suffix == ".html"}
    if not pages:
        return [f"{root} has no page"]
    wrong = [
        f"{path.relative_to(root)}: loads {address} from another host"
        for path, text in files.items()
        for address in outside(path.name, text)
    ]
    return wrong + [
        f"{path.relative_to(root)}: {address} leads nowhere" for path in pages for address in broken(root, path, pages)
    ]


KINDS = {".html", ".svg", ".css", ".js", ".mjs"}


def main() -> int:
    """Print what is wrong; 1 where something is, 2 for misuse."""
    if len(sys.argv) != 2:
        print("usage: check_site.py FOLDER", file=sys.stderr)
        return 2
    wrong = check(Path(sys.argv[1]))
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
