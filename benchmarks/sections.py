"""Benchmarks in sections: run one after another, each kept as soon as it is done; ``--only`` runs some again.

An interrupted or failed section loses no other: what is done lies in the results, and another run is merged with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks import report
from benchmarks.report import Result
from benchmarks.settings import ROOT
from launch.prepare import keep_freed_memory
from networks.checkpoints.errors import GanvasError


class Settings(Protocol):
    """What the settings of every such benchmark have."""

    device: str            # cpu or cuda
    threads: int | None    # torch's; None: torch decides

    def describe(self) -> dict[str, Any]: ...   # as plain values, without the paths of this machine


Sections = Mapping[str, Callable[[Any], Result]]   # by name: settings -> what was measured


def parser(doc: str | None, names: Iterable[str], quick: str) -> argparse.ArgumentParser:
    """The options that all have.

    Args:
        doc: of the script; its first line is the description.
        names: of the sections.
        quick: what ``--quick`` does.
    """
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--only", action="append", choices=tuple(names), metavar="NAME",
                      help=f"run this section only; may be repeated: {', '.join(names)}")  # fmt: skip
    made.add_argument("--threads", type=int, help="threads of torch")
    made.add_argument("--note", help="what the results should say beside, e.g. what else the machine did meanwhile")
    made.add_argument("--out", type=Path, help="JSON file that results are kept in and merged with")
    return made


def parsed(made: argparse.ArgumentParser, script: str, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with the file that results of this script go to."""
    arguments = made.parse_args(argv)
    folder = ROOT / "runs" / "benchmarks" / "quick" if arguments.quick else ROOT / "benchmarks" / "results"
    arguments.out = arguments.out or folder / f"{script}-{arguments.device}.json"
    return arguments


def command(script: str, arguments: argparse.Namespace, more: Iterable[str] = ()) -> str:
    """The command as another machine would give it: folders of this one are left out."""
    words = [f"python benchmarks/{script}.py", f"--device {arguments.device}"]
    words += ["--quick"] if arguments.quick else []
    words += [f"--only {name}" for name in arguments.only or ()]
    words += [f"--threads {arguments.threads}"] if arguments.threads else []
    return " ".join([*words, *more])


def run(title: str, sections: Sections, settings: Settings, arguments: argparse.Namespace, line: str) -> int:
    """Run what the arguments ask for, and print it; 1 if a section failed.

    Raises:
        GanvasError: if there is no such device.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise GanvasError("--device cuda, but torch sees no GPU here: use --device cpu.")
    names = arguments.only or list(sections)
    found, failed = run_sections(title, sections, names, settings, arguments.out, line, arguments.note)
    print(report.table(found))
    for name, reason in failed.items():
        print(f"{name} FAILED: {reason}")
    print(f"kept in {arguments.out}")
    print(json.dumps(report.summary(found, failed)))
    return 1 if failed else 0


def run_sections(
    title: str, sections: Sections, names: Sequence[str], settings: Settings, out: Path, line: str,
    note: str | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
    """Run sections and keep each result as it comes, beside what earlier runs left in ``out``.

    Returns:
        The sections by name, and for those that failed the reason.
    """
    found, failed = report.read_sections(out), dict[str, str]()
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        try:
            result = sections[name](settings)
        except KeyboardInterrupt:
            failed[name] = "interrupted"
            break
        except Exception as error:  # whatever goes wrong in one section, the others still count
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        notes = dict(result.notes) | ({"note": note} if note else {})
        found[name] = {
            "figures": dict(result.figures), "notes": notes, "seconds": time.perf_counter() - start,
            "date": f"{datetime.now(UTC):%Y-%m-%d}", "command": line, "hardware": report.hardware(settings.device),
            "versions": report.versions(), "settings": settings.describe(),
        }  # fmt: skip
        found = {name: found[name] for name in sections if name in found}
        report.write(out, title, found, failed)
    return found, failed
