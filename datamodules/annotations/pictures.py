"""The images that labels are of, found by their stems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from PIL import ImageOps

from datamodules.folder import by_stem, has_images
from networks.checkpoints.images import open_image


@dataclass(frozen=True)
class Pictures:
    """A folder of images, by stem."""

    folder: Path
    files: dict[str, Path]

    @classmethod
    def of(cls, given: Path | None, near: Iterable[Path]) -> Pictures:
        """The images of the folder that is given, or else of the first of those near by that holds any.

        Raises:
            GanvasError: if there is none, or two images have the same stem.
        """
        places = [given] if given is not None else [*near]
        for folder in places:
            if has_images(folder):
                return cls(folder, by_stem(folder, "images"))
        return cls(places[0], by_stem(places[0], "images"))   # says what is missing

    def find(self, name: str) -> Path | None:
        """The image that a tool wrote down as ``name``, whatever folder it lay in, on whichever system."""
        return self.files.get(PureWindowsPath(name).stem)   # knows / and \\


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is shown.

    Raises:
        GanvasError: if it cannot be read.
    """
    width, height = ImageOps.exif_transpose(open_image(path)).size
    return height, width
