"""The report on an edit by text that was measured: its figures by strength, the verdict, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.figures import Figure, values
from launch.judge_floor import trust_rows
from networks.checkpoints.atomic import atomic_path

COURSE = ("success", "leakage_worst", "clip_gain", "clip_direction", "identity", "perceptual")   # over strengths
_LISTED = ("leakage ", "floor ", "agreed ", "accuracy ")                                          # by attribute


def strength_rows(table: Mapping[float, Mapping[str, float]]) -> list[list[str]]:
    """A row of names, then one a strength.

    Args:
        table: strength -> figure -> value.
    """
    shown = [name for name in COURSE if name in next(iter(table.values()))]
    return [["strength", *shown], *([f"{s:g}", *(f"{score[n]:.4f}" for n in shown)] for s, score in table.items())]


def at_best(figures: Mapping[str, Figure]) -> dict[str, float]:
    """What is measured once, or at the best strength; not of each attribute."""
    return {name: x for name, x in values(figures).items() if " at " not in name and not name.startswith(_LISTED)}


def write_report(
    out: Path, command: str, verdict: str, table: Mapping[float, Mapping[str, float]], figures: Mapping[str, Figure],
    pictures: Mapping[str, str],
) -> Path:  # fmt: skip
    """Write ``report.md``.

    Args:
        out: the folder, which has the pictures already.
        command: that measured it.
        verdict: a sentence, ``launch.text_verdict``.
        table: strength -> figure -> value.
        figures: all of them.
        pictures: title -> path below ``out``.

    Raises:
        GanvasError: if the file cannot be written.
    """
    rows = [[f"`{name}`", f"{value:.4g}", figures[name].protocol.network or "-"] for name, value in
            at_best(figures).items()]  # fmt: skip
    parts = [
        "# An edit by text", f"`{command}`", f"On {figures['residual_cosine'].protocol}.", f"**Verdict:** {verdict}.",
        "## At each strength", _table(strength_rows(table)),
        f"## At the best strength, {figures['strength'].value:g}", _table([["figure", "value", "by"], *rows]),
    ]  # fmt: skip
    if "success" in figures:
        parts += ["## By attribute", "The floor is what the judge says of a step that nobody sees; leakage counts "
                  "images of which all classifiers say the same before the edit.",
                  _table(trust_rows(values(figures)))]  # fmt: skip
    for title, path in pictures.items():
        parts += [f"## {title}", f"![{title.lower()}]({path})"]
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n")
    return out / "report.md"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *rest])
