"""Sentences around a text, whose mean is steadier than one sentence (Radford et al. 2021, section 3.1.4)."""

from __future__ import annotations

from networks.checkpoints.errors import GanvasError

# A text is a whole phrase here ("a smiling person"), not the bare name of a class.
TEMPLATES = (
    "{}", "{}.", "a photo of {}", "a picture of {}", "an image of {}", "a portrait of {}", "a drawing of {}",
    "an illustration of {}", "a cropped photo of {}", "a close-up of {}", "a good photo of {}", "a blurry photo of {}",
    "a bright photo of {}", "a dark photo of {}", "a small picture of {}", "a rendering of {}", "a cartoon of {}",
    "this is {}", "here we see {}", "{}, looking at the camera",
)  # fmt: skip


def filled(template: str, text: str) -> str:
    """``text`` in its place.

    Raises:
        GanvasError: if the template has no place, or more than one.

    Example:
        >>> filled("a photo of {}", "a bald man")
        'a photo of a bald man'
    """
    if template.count("{}") != 1:
        raise GanvasError(f"the template {template!r} needs one {{}} where the text goes.")
    return template.replace("{}", text.strip())
