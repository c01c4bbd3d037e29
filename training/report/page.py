"""The page itself: sections of text, tables and pictures in one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

DPI = 160
STYLE = """
:root { color-scheme: light }
body { margin: 0 auto; padding: 1rem; max-width: 58rem; background: #fff; color: #1a1a1a;
       font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: .5rem 0 0 }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 1px solid #ccc; padding-top: 1rem }
p { max-width: 42rem }
nav { font-size: .9rem }
nav a { margin-right: .8rem; white-space: nowrap }
a { color: #0060a0 }
.wide { overflow-x: auto }
.wide img { max-width: none }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; vertical-align: top }
td.number, th.number { text-align: right }
caption, figcaption { text-align: left; font-size: .9rem; color: #444; max-width: 42rem }
figure { margin: 1rem 0 }
img { max-width: 100%; height: auto; display: block }
summary { cursor: pointer }
"""


class Page:
    """Gathers sections; each picture is also a PNG file in `folder`."""

    def __init__(self, folder: Path, title: str, lead: str) -> None:
        self.folder = folder
        self._title = title
        self._lead = lead
        self._sections: list[tuple[str, str]] = []

    def section(self, title: str, *parts: str) -> None:
        self._sections.append((title, "\n".join(parts)))

    def picture(self, name: str, figure: Figure, caption: str, *, wide: bool = False) -> str:
        """Save `figure` as `name`.png; a wide one scrolls on a phone instead of shrinking."""
        file = self.folder / f"{name}.png"
        figure.savefig(file, dpi=DPI, facecolor="white")
        data = base64.b64encode(file.read_bytes()).decode()
        width = round(figure.get_figwidth() * 96)
        frame = ' class="wide"' if wide else ""
        image = f'<img src="data:image/png;base64,{data}" width="{width}" alt="{escape(caption)}">'
        return f"<figure><div{frame}>{image}</div><figcaption>{escape(caption)}</figcaption></figure>"

    def write(self) -> Path:
        links = "\n".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title, _ in self._sections)
        body = "\n".join(
            f'<h2 id="{_anchor(title)}">{escape(title)}</h2>\n{content}' for title, content in self._sections
        )
        path = self.folder / "index.html"
        path.write_text(
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{STYLE}</style>\n"
            f"<h1>{escape(self._title)}</h1>\n{text(self._lead)}\n<nav>{links}</nav>\n{body}\n</html>\n",
            encoding="utf-8",
        )
        return path


def text(*paragraphs: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)


def folded(summary: str, content: str) -> str:
    """`content` behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Floats are shown with four places, large ones with one; columns of numbers stand to the right."""
    body = [list(row) for row in rows]
    numeric = [bool(body) and all(isinstance(row[place], (int, float)) for row in body) for place in range(len(head))]
    kind = ['class="number"' if number else "" for number in numeric]
    heads = "".join(f"<th {kind[place]}>{escape(name)}</th>" for place, name in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(f"<td {kind[place]}>{escape(_shown(cell))}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in body
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{told}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 2 else f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())
