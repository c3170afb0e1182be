"""``ganvas report``: the runs of a folder in one table, beside what a paper published, with plots and pictures."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from launch.reports.comparison import Comparison
from launch.reports.document import Heading, Part, latex_rows, terminal, write
from launch.reports.published import paper
from launch.reports.runs import Gathered, gather
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.errors import GanvasError

COUNT, CLASS = "n", "IoU "   # what a table does not show unasked: the protocol has the count, and classes are many


def run(cfg: DictConfig) -> None:
    """Write ``report.html``, ``report.md`` and, with ``latex=true``, ``rows.tex``; print the tables and the path.

    Runs that failed, are missing or half written are shown as such. The same runs give the same files.

    Raises:
        GanvasError: if there are no runs, none of them is finished, or no run has a figure that was asked for.
    """
    folder = Path(cfg.runs)
    out = Path(cfg.out) if cfg.out else folder / "report"
    found = gather(folder)
    _require_done(folder, found)
    level = 1 if len(found) == 1 else 2
    compared = [Comparison(each, _figures(cfg, each), paper(each.experiment), level) for each in found]
    _require_figures(cfg, compared)
    parts: list[Part] = [] if len(found) == 1 else [Heading(f"Runs of {folder.resolve().name}", 1)]
    parts += [part for each in compared for part in each.parts()]
    written = {"report": write(parts, out)}
    if cfg.latex:
        rows = "\n".join(latex_rows(each.table()) for each in compared if each.together)
        with atomic_path(out / "rows.tex") as temporary:
            temporary.write_text(rows)
        written = {"LaTeX rows": out / "rows.tex", **written}
    print(terminal(parts))
    print()
    for what, path in written.items():
        print(f"{what}: {path}")


def _figures(cfg: DictConfig, gathered: Gathered) -> tuple[str, ...]:
    """What is shown: what was asked for, what the experiment is about, or all there is."""
    if cfg.figures or gathered.figures:
        return tuple(cfg.figures or gathered.figures)
    names = dict.fromkeys(name for run in gathered.done for name in run.measured.figures)
    return tuple(name for name in names if name != COUNT and not name.startswith(CLASS))


def _require_done(folder: Path, found: list[Gathered]) -> None:
    runs = [run for each in found for run in each.runs]
    if not any(run.measured for run in runs):
        first = runs[0]
        why = f": {first.reason}" if first.reason else ""
        raise GanvasError(f"none of the {len(runs)} runs in {folder} is finished; {first.name} is {first.status}{why}"
                          f"{'' if why.endswith('.') else '.'}")  # fmt: skip


def _require_figures(cfg: DictConfig, compared: list[Comparison]) -> None:
    known = sorted({name for each in compared for run in each.gathered.done for name in run.measured.figures})
    for name in cfg.figures:
        if name not in known:
            raise GanvasError(f"no run measured {name}: choose of {', '.join(known)}.")
