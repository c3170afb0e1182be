"""The folder that images are labelled in: pictures, class lists, what CVAT reads, codes, and how to go on."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from datamodules.annotations.drawn import BACKGROUND, IGNORED
from datamodules.annotations.mask_files import CVAT_MASKS, LABEL_MAP
from datamodules.annotations.pictures import image_size
from datamodules.annotations.shapes import area, box, encode
from launch.figures import write_config
from networks.checkpoints.atomic import atomic_folder
from networks.checkpoints.classes import IGNORE, IGNORE_COLOR, ClassList
from networks.checkpoints.latents import save_latent
from networks.grids import save_grid, save_png, to_uint8
from networks.latent import Latent

IMAGES, LATENTS, CLASSES, LABELS, SHEET = "images", "latents.safetensors", "classes.txt", "labels.txt", "sheet.png"
FOUND = "found_by_inversion"  # in the manifest of the codes: they are near the pictures, and did not make them
CVAT_LABELS, COCO, PROPOSALS = "cvat/labels.json", "cvat/coco.json", "cvat/proposals.zip"

README = """# {count} images to label

`images/` has the pictures, `sheet.png` all of them at a glance. `latents.safetensors` holds their codes: leave it here,
and keep the names of the pictures.

1. `classes.txt` names the classes, one a line, `background` first.{classes}
   Pixels that you leave out are background; what is labelled `ignore` is neither learned nor scored.
2. Label the pictures, all of them or as many as you like, in one of these:
   - LabelMe: `labelme images --labels labels.txt --nodata`, which writes a `.json` beside each picture. Draw polygons;
     where two lie over one another, the smaller is on top.
   - CVAT: make a task of the files in `images/`, with the labels {cvat}. Export it as
     "COCO 1.0" or "Segmentation mask 1.1", unpack the archive, and import that folder with `kit=` as below.{proposals}
   - Any program that paints: `masks/NAME.png` for `images/NAME.png`, with class numbers or colours.
3. Read what you labelled. It says what is wrong where, and may be run again at any time:

       ganvas label import={out} out={out}-labelled
       ganvas label import=UNPACKED kit={out} out={out}-labelled

4. Train:

       ganvas train experiment=segmentation/folder generator={generator} \\
           images={out}-labelled/images masks={out}-labelled/masks{latents}

5. More labels help most where the branch's members disagree:

       ganvas label segmentation=BRANCH.safetensors earlier={out} n=8 out={out}-2
       ganvas label import=[{out},{out}-2] out={out}-labelled
"""
NO_CLASSES = " It holds nothing else yet: write yours below it."
CORRECT = """
     `cvat/proposals.zip` has the masks that the branch sees: upload it as "Segmentation mask 1.1", and correct them
     instead of drawing. `cvat/coco.json` has the same as run lengths."""


@dataclass(frozen=True)
class Kit:
    """What is to be labelled."""

    names: tuple[str, ...]
    images: Tensor                          # as the generator has them, [N, 3, R, R] in [-1, 1]
    photos: tuple[Path, ...]                # the files themselves, where they are real
    latent: Latent                          # codes, on the CPU
    classes: ClassList | None               # None: people write them down
    proposals: tuple[np.ndarray, ...] = ()  # masks that a branch sees, uint8 of the size of each image


def write_kit(out: Path, kit: Kit, cfg: DictConfig) -> list[str]:
    """Write the folder, whole or not at all; returns the lines that end the command.

    Raises:
        GanvasError: if ``out`` already holds files, or cannot be written.
    """
    with atomic_folder(out) as folder:
        (folder / IMAGES).mkdir()
        if kit.photos:
            files = [Path(shutil.copy2(photo, folder / IMAGES)) for photo in kit.photos]
        else:
            pixels = to_uint8(kit.images)
            files = [
                save_png(image, folder / IMAGES / f"{name}.png") for name, image in zip(kit.names, pixels, strict=True)
            ]
        save_grid(kit.images, folder / SHEET)
        made = {"command": cfg.command, "made_with": cfg.generator, FOUND: bool(kit.photos)}
        save_latent(folder / LATENTS, kit.latent, kit.names, made)
        classes = kit.classes or ClassList.of_names([BACKGROUND])
        _write_classes(folder, classes)
        (folder / "cvat").mkdir()
        (folder / CVAT_LABELS).write_text(json.dumps(_cvat_labels(classes), indent=1) + "\n", encoding="utf-8")
        (folder / COCO).write_text(json.dumps(_coco(files, classes, kit.proposals)) + "\n", encoding="utf-8")
        if kit.proposals:
            _write_proposals(folder / PROPOSALS, kit, classes)
        write_config(folder, cfg)
        (folder / "README.md").write_text(_readme(out, kit, cfg), encoding="utf-8")
    how = f"label them as {out / 'README.md'} says, then: ganvas label import={out} out={out}-labelled"
    return [f"images: {len(kit.names)}", f"sheet: {out / SHEET}", how, f"folder: {out}"]


def _write_classes(folder: Path, classes: ClassList) -> None:
    plain = classes == ClassList.of_names(classes.names)   # the colours of the format, which need not be written
    lines = [
        name if plain else f"{name} #{bytes(color).hex()}"
        for name, color in zip(classes.names, classes.palette, strict=True)
    ]
    (folder / CLASSES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    # LabelMe knows no colours; a first line of this name is its own custom.
    (folder / LABELS).write_text("\n".join(["__ignore__", *classes.names]) + "\n", encoding="utf-8")


def _cvat_labels(classes: ClassList) -> list[dict]:
    return [
        {"name": name, "color": f"#{bytes(color).hex()}", "attributes": []}
        for name, color in zip((*classes.names, IGNORED[0]), (*classes.palette, IGNORE_COLOR), strict=True)
        if name != BACKGROUND
    ]


def _coco(files: list[Path], classes: ClassList, proposals: tuple[np.ndarray, ...]) -> dict:
    """The images and classes, and a branch's masks as run lengths: one annotation for each class of an image."""
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(classes.names) if name != BACKGROUND]
    images, annotations = [], []
    for number, file in enumerate(files, start=1):
        height, width = image_size(file)
        images.append({"id": number, "file_name": file.name, "height": height, "width": width})
        for category in categories if proposals else []:
            region = proposals[number - 1] == category["id"] - 1
            if region.any():
                runs = encode(region)
                annotations.append({
                    "id": len(annotations) + 1, "image_id": number, "category_id": category["id"], "iscrowd": 1,
                    "segmentation": runs, "area": area(runs), "bbox": box(runs),
                })  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": categories}


def _write_proposals(path: Path, kit: Kit, classes: ClassList) -> None:
    """CVAT's "Segmentation mask 1.1", for its dialogue "Upload annotations"."""
    lines = [
        f"{name}:{','.join(map(str, color))}::" for name, color in zip(classes.names, classes.palette, strict=True)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(LABEL_MAP, "\n".join(lines) + "\n")
        archive.writestr("ImageSets/Segmentation/default.txt", "\n".join(kit.names) + "\n")
        for name, mask in zip(kit.names, kit.proposals, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(classes.paint(np.where(mask == IGNORE, 0, mask))).save(buffer, format="PNG")
            archive.writestr(f"{CVAT_MASKS}/{name}.png", buffer.getvalue())


def _readme(out: Path, kit: Kit, cfg: DictConfig) -> str:
    return README.format(
        count=len(kit.names), out=out, generator=cfg.generator or "GENERATOR",
        classes="" if kit.classes else NO_CLASSES, proposals=CORRECT if kit.proposals else "",
        latents="" if kit.photos else f" latents={out}-labelled/{LATENTS}",
        cvat='of `cvat/labels.json` (tab "Raw")' if kit.classes else "of `classes.txt`",
    )  # fmt: skip
