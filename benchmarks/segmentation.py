"""The segmentation branch against the original recipe (DatasetGAN, EditGAN): time, memory, accuracy.

Runs its sections one after another, prints a table and, as the last line, one JSON object of all figures. Results are
kept after each section, so that an interrupted or failed one loses nothing; ``--only`` runs some again and merges them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

import torch

from benchmarks import inference, parity, quality, report, training
from benchmarks.report import Result
from benchmarks.settings import ROOT, Settings
from launch.prepare import keep_freed_memory
from networks.checkpoints.errors import GanvasError

SECTIONS: dict[str, Callable[[Settings], Result]] = {
    "parity": parity.run,
    "training": training.run,
    "memory": training.run_huge,
    "inference": inference.run,
    "avatars": quality.run,
    "growth": training.run_growth,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 if a section failed."""
    arguments = parse(argv)
    settings = settings_from(arguments)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    keep_freed_memory()
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise GanvasError("--device cuda, but torch sees no GPU here: use --device cpu.")
    sections, failed = run_sections(arguments.only or list(SECTIONS), settings, arguments.out, command(arguments))
    print(report.table(sections))
    for name, reason in failed.items():
        print(f"{name} FAILED: {reason}")
    print(f"kept in {arguments.out}")
    print(json.dumps(report.summary(sections, failed)))
    return 1 if failed else 0


def run_sections(
    names: Sequence[str], settings: Settings, out: Path, line: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run sections and keep each result as it comes, beside what earlier runs left in ``out``.

    Returns:
        The sections by name, and for those that failed the reason.
    """
    sections, failed = report.read_sections(out), dict[str, str]()
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        try:
            result = SECTIONS[name](settings)
        except KeyboardInterrupt:
            failed[name] = "interrupted"
            break
        except Exception as error:  # whatever goes wrong in one section, the others still count
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        entry = {
            "figures": dict(result.figures), "notes": dict(result.notes), "seconds": time.perf_counter() - start,
            "date": f"{datetime.now(UTC):%Y-%m-%d}", "command": line, "hardware": report.hardware(settings.device),
            "versions": report.versions(), "settings": settings.describe(),
        }  # fmt: skip
        sections[name] = entry
        sections = {name: sections[name] for name in SECTIONS if name in sections}
        report.write(out, sections, failed)
    return sections, failed


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes on 2 cores: fewer seeds and images")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", action="append", choices=tuple(SECTIONS), metavar="NAME",
                        help=f"run this section only; may be repeated: {', '.join(SECTIONS)}")  # fmt: skip
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--generator", type=Path, default=Settings.generator, help="bundle for the avatars section")
    parser.add_argument("--original", type=Path, metavar="DIR", help="a checkout of nv-tlabs/editGAN_release")
    parser.add_argument("--out", type=Path, help="JSON file that results are kept in and merged with")
    arguments = parser.parse_args(argv)
    name = f"segmentation-{arguments.device}.json"
    folder = ROOT / "runs" / "benchmarks" / "quick" if arguments.quick else ROOT / "benchmarks" / "results"
    arguments.out = arguments.out or folder / name
    return arguments


def settings_from(arguments: argparse.Namespace) -> Settings:
    settings = Settings().quick() if arguments.quick else Settings()
    names = ("device", "threads", "generator", "original")
    return replace(settings, **{name: getattr(arguments, name) for name in names})


def command(arguments: argparse.Namespace) -> str:
    """The command as another machine would give it: folders of this one are left out."""
    words = ["python benchmarks/segmentation.py", f"--device {arguments.device}"]
    words += ["--quick"] if arguments.quick else []
    words += [f"--only {name}" for name in arguments.only or ()]
    words += [f"--threads {arguments.threads}"] if arguments.threads else []
    words += [f"--generator zoo/{arguments.generator.name}"] if arguments.generator != Settings.generator else []
    return " ".join(words + (["--original DIR"] if arguments.original else []))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"segmentation.py: {error}")
