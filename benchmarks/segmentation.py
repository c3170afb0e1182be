"""The segmentation branch against the original recipe (DatasetGAN, EditGAN): time, memory, accuracy.

Runs its sections one after another, prints a table and, as the last line, one JSON object of all figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

from benchmarks import inference, parity, quality, sections, training
from benchmarks.report import Result
from benchmarks.settings import Settings
from networks.checkpoints.errors import GanvasError

SCRIPT, TITLE = "segmentation", "Segmentation benchmark"
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
    return sections.run(TITLE, SECTIONS, settings_from(arguments), arguments, command(arguments))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = sections.parser(__doc__, SECTIONS, "at most 5 minutes on 2 cores: fewer seeds and images")
    made.add_argument("--generator", type=Path, default=Settings.generator, help="bundle for the avatars section")
    made.add_argument("--original", type=Path, metavar="DIR", help="a checkout of nv-tlabs/editGAN_release")
    return sections.parsed(made, SCRIPT, argv)


def settings_from(arguments: argparse.Namespace) -> Settings:
    settings = Settings().quick() if arguments.quick else Settings()
    names = ("device", "threads", "generator", "original")
    return replace(settings, **{name: getattr(arguments, name) for name in names})


def command(arguments: argparse.Namespace) -> str:
    """The command as another machine would give it."""
    words = [f"--generator zoo/{arguments.generator.name}"] if arguments.generator != Settings.generator else []
    return sections.command(SCRIPT, arguments, [*words, *(["--original DIR"] if arguments.original else [])])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"segmentation.py: {error}")
