"""A page as a list of parts, written once and shown three ways: Markdown, HTML with its pictures inside, a terminal."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from networks.checkpoints.atomic import atomic_path


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Lead:
    """What the page says, in one sentence."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; ``words in backticks`` are code."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Points."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: Collection[int] = ()                        # which columns are figures: they stand to the right
    best: frozenset[tuple[int, int]] = frozenset()       # (row, column) of the cells that stand out


@dataclass(frozen=True)
class Picture:
    """A picture; ``name`` is its file's, without an ending, and ``text`` what it shows."""

    name: str
    image: Image.Image
    text: str


Part = Heading | Lead | Text | Listing | Table | Picture

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5c6670; --line: #d9dee3; --back: #fff; --tint: #f4f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --soft: #9aa5af; --line: #39424b; --back: #14181c; --tint: #1d2329; }
}
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 68rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--back); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; }
p, li { max-width: 50rem; }
.lead { font-size: 1.25rem; line-height: 1.45; border-left: .25rem solid #2f7fb8; padding-left: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); white-space: normal; vertical-align: bottom; }
th.figure, td.figure { text-align: right; }
tbody tr:hover { background: var(--tint); }
td.long { white-space: normal; }
figure { margin: 1.2rem 0; }
figure.small { display: inline-block; width: calc(50% - .5rem); min-width: 20rem; vertical-align: top; }
img { max-width: 100%; height: auto; border-radius: 4px; background: #fff; }
figcaption { color: var(--soft); font-size: .9rem; }
code { background: var(--tint); padding: .1em .3em; border-radius: 3px; font-size: .9em; overflow-wrap: anywhere; }
"""
LONG, SMALL = 40, 640  # letters from which on a cell may be broken; pixels up to which two pictures share a line


def write(parts: Sequence[Part], out: Path) -> Path:
    """Write ``report.html``, ``report.md`` and the Markdown's pictures below ``images/``.

    Returns:
        The HTML file.

    Raises:
        GanvasError: if something cannot be written.
    """
    for part in parts:
        if isinstance(part, Picture):
            with atomic_path(out / "images" / f"{part.name}.png") as temporary:
                part.image.save(temporary, format="PNG")
    for name, text in {"report.md": markdown(parts), "report.html": page(parts)}.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return out / "report.html"


def markdown(parts: Sequence[Part]) -> str:
    """The page as Markdown."""
    return "\n\n".join(_markdown(part) for part in parts) + "\n"


def _markdown(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Lead(text):
            return f"**{text}**"
        case Listing(items):
            return "\n".join(f"- {item}" for item in items)
        case Table():
            return _aligned(part, "**")
        case Picture(name, _, text):
            return f"![{text}](images/{name}.png)"
        case Text(text):
            return text


def _aligned(table: Table, strong: str = "") -> str:
    rows = [
        [f"{strong}{cell}{strong}" if (i, j) in table.best else cell.replace("|", "\\|") for j, cell in enumerate(row)]
        for i, row in enumerate(table.rows)
    ]
    return align([table.header, *rows], table.figures)


def align(rows: Sequence[Sequence[str]], figures: Collection[int] = ()) -> str:
    """Rows of cells as a Markdown table that also reads well on a terminal.

    Args:
        rows: the header first.
        figures: which columns stand to the right.

    Example:
        >>> print(align([("a", "b"), ("long", "1")]))
        | a    | b |
        |------|---|
        | long | 1 |
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = [i not in figures for i in range(len(widths))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        ) + " |"  # fmt: skip

    ends = ("-" if to_left else ":" for to_left in left)
    rule = "|".join("-" * (width + 1) + end for width, end in zip(widths, ends, strict=True))
    return "\n".join([line(rows[0]), f"|{rule}|", *map(line, rows[1:])])


def terminal(parts: Sequence[Part]) -> str:
    """The page without its pictures and what stands above them, for reading as it is."""
    texts = []
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        match part:
            case Picture():
                continue
            case Heading() if isinstance(following, Picture):
                continue
            case Heading(text) | Lead(text):
                texts.append(text)
            case Table():
                texts.append(_aligned(part))
            case _:
                texts.append(_markdown(part).replace("`", ""))
    return "\n\n".join(texts)


def page(parts: Sequence[Part]) -> str:
    """The page as one HTML file: nothing beside it is needed."""
    title = next((part.text for part in parts if isinstance(part, Heading)), "Report")
    body = "\n".join(_html(part) for part in parts)
    return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n")  # fmt: skip


def _html(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Lead(text):
            return f'<p class="lead">{_inline(text)}</p>'
        case Listing(items):
            return "<ul>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + "\n</ul>"
        case Table():
            return _table(part)
        case Picture(_, image, text):
            buffer = io.BytesIO()
            image.save(buffer, format="PNG")
            data = base64.b64encode(buffer.getvalue()).decode()
            small = ' class="small"' if image.width <= SMALL else ""
            return (f'<figure{small}><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
                    f"<figcaption>{_inline(text)}</figcaption></figure>")  # fmt: skip
        case Text(text):
            return f"<p>{_inline(text)}</p>"


def _table(table: Table) -> str:
    def row(number: int, cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(one(number, i, cell, tag) for i, cell in enumerate(cells)) + "</tr>"

    def one(number: int, i: int, cell: str, tag: str) -> str:
        words = ["figure"] * (i in table.figures) + ["long"] * (len(cell) > LONG)
        kind = f' class="{" ".join(words)}"' if words else ""
        shown = f"<b>{_inline(cell)}</b>" if (number, i) in table.best else _inline(cell)
        return f"<{tag}{kind}>{shown}</{tag}>"

    head, body = row(-1, table.header, "th"), "\n".join(row(i, cells, "td") for i, cells in enumerate(table.rows))
    return (f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n'
            "</table></div>")  # fmt: skip


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def latex_rows(table: Table) -> str:
    r"""The rows of a table for a ``tabular``: cells between ``&``, each row ended by ``\\``."""
    lines = ["% " + " & ".join(table.header)]
    for i, row in enumerate(table.rows):
        cells = (rf"\textbf{{{latex(cell)}}}" if (i, j) in table.best else latex(cell) for j, cell in enumerate(row))
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join(lines) + "\n"


def latex(cell: str) -> str:
    r"""A cell as LaTeX takes it.

    Example:
        >>> print(latex("mIoU_kfold"), latex("0.71 ± 0.02"), latex("5 %"))
        mIoU\_kfold $0.71 \pm 0.02$ 5 \%
    """
    if "±" in cell:
        return f"${cell.replace('±', chr(92) + 'pm')}$"
    specials = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(specials.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in cell)
