"""HTML of the few elements that results are shown with in a notebook."""

import html
from collections.abc import Sequence


def table(lines: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """Lines of words as an HTML table.

    Parameters
    ----------
    lines : sequence of sequence of str
        As many words in each; the first line and the first word of every line are headings.
    caption : str, default=""
        Text above the table.

    Returns
    -------
    str
        HTML in which every word is escaped.
    """
    heading, *body = lines
    head = "".join(f"<th>{html.escape(word)}</th>" for word in heading)
    rows = [
        f"<tr><th>{html.escape(first)}</th>{''.join(f'<td>{html.escape(word)}</td>' for word in rest)}</tr>"
        for first, *rest in body
    ]
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
