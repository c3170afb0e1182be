"""``ganvas evaluate segmentation=BUNDLE``: a branch scored on held-out avatars, or on a folder with masks."""

from __future__ import annotations

from omegaconf import DictConfig

from datamodules.avatars import render_avatars
from datamodules.folder import read_folder
from datamodules.masks import LabelledImages
from editors import SegmentationEditor, load
from launch.segmentation_scores import invert_images, score_inverted
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

IMAGES = 300  # held-out avatars where n= says nothing


def run(cfg: DictConfig) -> None:
    """Print both mIoU rules, accuracy, calibration and the IoU of each class, with the protocol.

    Images are inverted as the bundle says, so that the figure is the one its editor works with.

    Raises:
        GanvasError: if the bundle is no segmentation, or the images or their classes do not fit it.
    """
    editor = load(cfg.segmentation, cfg.generator, cfg.device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"{cfg.segmentation} is no segmentation bundle: give it as generator=.")
    classes = editor.classes
    images, what = _images(cfg, classes, editor.generator.img_resolution)
    if images.classes.names != classes.names:
        raise GanvasError(f"the masks have the classes {', '.join(images.classes.names)}, and {cfg.segmentation} knows "
                          f"{', '.join(classes.names)}: evaluate on masks of the same classes.")  # fmt: skip
    found = invert_images(editor.generator, images, editor.settings, "held-out")
    scored = score_inverted(editor.head, editor.generator, images, found, what)
    print(f"protocol: {scored.protocol}")
    for name, iou in scored.iou.items():
        print(f"IoU {name}: {iou:.4f}" if iou == iou else f"IoU {name}: absent")  # NaN is no number, not even itself
    for name, key in (("mIoU", "miou"), ("mIoU_datasetgan_rule", "miou_datasetgan"),
                      ("pixel_accuracy", "pixel_accuracy"), ("ece", "ece")):  # fmt: skip
        print(f"{name}: {scored.figures[key]:.4f}")


def _images(cfg: DictConfig, classes: ClassList, resolution: int) -> tuple[LabelledImages, str]:
    """Images with masks, and which they are."""
    if cfg.n is not None and cfg.n < 1:
        raise GanvasError(f"n={cfg.n} leaves nothing to score: give at least 1.")
    if cfg.images or cfg.masks:
        if not (cfg.images and cfg.masks):
            raise GanvasError("a folder is evaluated with both images=DIR and masks=DIR.")
        found = read_folder(cfg.images, cfg.masks, classes, resolution)
        return found.take(range(len(found))[: cfg.n]), f"images of {cfg.images}"
    if cfg.data.get("kind") != "avatars":
        raise GanvasError("a segmentation is scored on images=DIR with masks=DIR, or with data=avatars.")
    style = cfg.data.style
    heldout = render_avatars(cfg.n or IMAGES, "heldout", 0, resolution, masks=True, style=style)
    return heldout, f"rendered {style} with exact masks (split heldout, seed 0)"
