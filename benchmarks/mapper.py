"""Mappers and directions by text against the original recipe (StyleCLIP): steps, memory, whole trainings, channels.

Runs its sections one after another, prints a table and, as the last line, one JSON object of all figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that the script runs from any folder, uninstalled

from benchmarks import mapper_directions, mapper_steps, mapper_texts, sections
from benchmarks.mapper_settings import Settings
from benchmarks.report import Result
from launch.prepare import prepare
from networks.checkpoints.errors import GanvasError

SCRIPT, TITLE = "mapper", "Benchmark of mappers and directions by text"
SECTIONS: dict[str, Callable[[Settings], Result]] = {
    "steps": mapper_steps.run,
    "avatars": mapper_steps.run_small,
    "memory": mapper_steps.run_memory,
    "files": mapper_steps.run_files,
    "directions": mapper_directions.run,
    "avatar_directions": mapper_directions.run_small,
    "texts": mapper_texts.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; 1 if a section failed."""
    prepare()
    made = sections.parser(__doc__, SECTIONS, "at most 5 minutes on 2 cores: narrow at 512x512, few steps")
    helps = {"share": "of each whole training, the rest is multiplied up; scores are of what was run",
             "scored": "held-out codes that those trainings are scored on; 0: they are not",
             "runs": "folder that whole trainings are kept in and taken from; of one state of the code",
             "turns": "rounds at the large size, after one that is not timed",
             "batch": "of the original's step at the large size: 2 in its program, 1 if memory is short"}  # fmt: skip
    made.add_argument("--share", type=float, help=helps["share"])
    made.add_argument("--scored", type=int, help=helps["scored"])
    made.add_argument("--runs", type=Path, help=helps["runs"])
    made.add_argument("--turns", type=int, help=helps["turns"])
    made.add_argument("--batch", type=int, help=helps["batch"])
    arguments = sections.parsed(made, SCRIPT, argv)
    names = ("share", "scored", "turns", "batch")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    counts = min(given.get("turns", 1), given.get("batch", 1)) >= 1 and given.get("scored", 0) >= 0
    if not 0 < given.get("share", 1) <= 1 or not counts:
        raise GanvasError("--share is above 0 and at most 1, --turns and --batch at least 1, --scored at least 0.")
    size = Settings().quick() if arguments.quick else Settings()
    runs = arguments.runs and arguments.runs.resolve()
    settings = replace(size, device=arguments.device, threads=arguments.threads, runs=runs, **given)
    more = [f"--{name} {value:g}" for name, value in given.items()]
    return sections.run(TITLE, SECTIONS, settings, arguments, sections.command(SCRIPT, arguments, more))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanvasError as error:
        sys.exit(f"mapper.py: {error}")
