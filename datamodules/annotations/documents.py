"""JSON files of annotation tools, told apart by what they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from networks.checkpoints.errors import GanvasError


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        GanvasError: if it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise GanvasError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, RecursionError) as error:   # also undecodable text
        raise GanvasError(f"{path} is no whole JSON file ({error}): save it again in the tool.") from error


def is_labelme(data: Any) -> bool:
    """Whether this is LabelMe's file of one image."""
    return isinstance(data, dict) and "shapes" in data


def is_coco(data: Any) -> bool:
    """Whether this is a COCO file."""
    return isinstance(data, dict) and {"images", "annotations", "categories"} <= data.keys()
