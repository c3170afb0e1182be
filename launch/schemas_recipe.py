"""What an edit is for, as data: ``conf/recipe/<name>.yaml``, measured by ``ganvas evaluate recipe=<name>``."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import MANDATORY, option
from launch.schema_bases import RecipeConfig


@dataclass
class EditRecipeConfig(RecipeConfig):
    """One edit: what it is to reach, from where, how it is wished, and what it may change."""

    kind: str = option("edit", "launch/evaluate_<kind>.py measures it", hidden=True)
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

    kind: str = option("blobs", "launch/evaluate_<kind>.py measures it", hidden=True)
    name: str = option("blobs", "of the recipe", hidden=True)
    move: float = option(0.15, "how far blobs are moved, left or right towards the middle, in widths of the image")
    background: list[str] = option(list, "classes of the judge that are no objects, e.g. [wall,floor]")


@dataclass
class CollageRecipeConfig(RecipeConfig):
    """Another class, or features of a picture of another class, in a region of each picture."""

    kind: str = option("collage", "launch/evaluate_<kind>.py measures it", hidden=True)
    name: str = option("collage", "of the recipe", hidden=True)
    of: str = option("samples", "samples of the generator, or images: held-out ones of data=, which are projected")
    region: str = option("disc", "disc in the middle, left half, or whole: all of the picture")
    size: float = option(0.7, "of the disc, in widths of the image")
    feather: float = option(0.0, "soft edge of the region, as a share of the image's width")
    layers: list[str] = option(lambda: ["all"], "that heed the region, as `ganvas edit layers=`")
    paste: str | None = option(
        None, "feather, poisson or poisson-mixed: put the region into the picture as it was given; null: as rendered"
    )  # fmt: skip


@dataclass
class ReconstructionRecipeConfig(RecipeConfig):
    """Held-out images, each projected as every class of the generator."""

    kind: str = option("reconstruction", "launch/evaluate_<kind>.py measures it", hidden=True)
    name: str = option("reconstruction", "of the recipe", hidden=True)


SCHEMAS = {
    "recipe/edit": EditRecipeConfig, "recipe/blobs": BlobRecipeConfig, "recipe/collage": CollageRecipeConfig,
    "recipe/reconstruction": ReconstructionRecipeConfig,
}  # fmt: skip
