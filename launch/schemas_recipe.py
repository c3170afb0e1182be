"""What an edit is for, as data: ``conf/recipe/<name>.yaml``, measured by ``ganvas evaluate recipe=<name>``."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import MANDATORY, option
from launch.schema_bases import RecipeConfig


@dataclass
class EditRecipeConfig(RecipeConfig):
    """One edit: what it is to reach, from where, how it is wished, and what it may change."""

    name: str = option(MANDATORY, "of the edit")
    reach: str = option(MANDATORY, "attribute=value, as the judge has them, that it is to reach: smile=yes")
    where: str = option(MANDATORY, "attribute=value of the images that are edited: mouth=serious")
    classes: list[str] = option(MANDATORY, "classes of the branch that are edited wherever they are")
    affects: list[str] = option(list, "other attributes that it may change; all that are not named count as leakage")
    changed: dict[str, str | None] = option(dict, "avatars: part -> variant of the wished picture; null: without it")
    program: str | None = option(None, "or: the mask program that makes the wish, as `ganvas edit program=`")
    images: str | None = option(None, "or: folder of images to learn from ...")
    masks: str | None = option(None, "... and of their wished masks, named like them")
    examples: int = option(8, "how many images a vector is learned from, where they are rendered or taken by `where`")
    how: str = option("joint", "joint: one step for all of them at once; mean: the mean of a step for each")


@dataclass
class BlobRecipeConfig(RecipeConfig):
    """Moves and removals of blobs, one at a time."""

    name: str = option("blobs", "of the recipe", hidden=True)
    move: float = option(0.15, "how far blobs are moved, left or right towards the middle, in widths of the image")
    background: list[str] = option(list, "classes of the judge that are no objects, e.g. [wall,floor]")


SCHEMAS = {"recipe/edit": EditRecipeConfig, "recipe/blobs": BlobRecipeConfig}
