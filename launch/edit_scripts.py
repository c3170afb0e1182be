"""Scripts of edits: steps as data, in YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from networks.checkpoints.errors import GanvasError


def read_script(path: str, example: str, words: bool = False) -> list[Any]:
    """The steps of a script, their numbers as text.

    Args:
        path: the file, a list of tables.
        example: of a step, for the sentence.
        words: whether a step may also be text.

    Raises:
        GanvasError: if the file cannot be read, or is no such list.
    """
    try:
        # JSON is YAML, too. Scalars stay text, which steps read: YAML would take scene and blob `1:5` for 65 seconds.
        steps = yaml.load(Path(path).read_text(), yaml.BaseLoader)  # noqa: S506 - makes text, lists and tables
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise GanvasError(f"script={path} cannot be read: {reason}.") from error
    if not isinstance(steps, list) or not all(isinstance(step, dict | str if words else dict) for step in steps):
        raise GanvasError(f"script={path} must be a list of steps, as `- {example}`.")
    return steps
