"""``ganvas evaluate segmentation=BUNDLE``: a branch scored on held-out rendered images, or on a folder with masks."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from datamodules.folder import read_folder
from datamodules.masks import LabelledImages
from editors import SegmentationEditor, load
from launch.figures import Figure, Source, all_by
from launch.rendered import heldout_source, is_rendered, render
from launch.reports.segmentation import write_evaluation
from launch.segmentation_scores import invert_images, score_inverted
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError

HEADLINES = {  # figure -> what SegmentationScore calls it
    "mIoU": "miou", "mIoU_datasetgan_rule": "miou_datasetgan", "pixel_accuracy": "pixel_accuracy", "ece": "ece",
}  # fmt: skip
IMAGES = 300  # held-out images where n= says nothing


def measure(cfg: DictConfig) -> dict[str, Figure]:
    """Both mIoU rules, accuracy, calibration, area under the risk-coverage curve and the IoU of each class.

    All are printed, with the protocol; with ``out=`` a report shows the predictions and how far they can be trusted.

    Images are inverted as the bundle says, so that the figure is the one its editor works with.

    Raises:
        GanvasError: if the bundle is no segmentation, or the images or their classes do not fit it.
    """
    editor = load(cfg.segmentation, cfg.generator, cfg.device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"{cfg.segmentation} is no segmentation bundle: give it as generator=.")
    classes = editor.classes
    images, source = _images(cfg, classes, editor.generator.img_resolution)
    if not images.classes.begins(classes):
        raise GanvasError(f"the masks have the classes {', '.join(images.classes.names)}, and {cfg.segmentation} knows "
                          f"{', '.join(classes.names)}: evaluate on masks of the same classes.")  # fmt: skip
    images = replace(images, classes=classes)  # which may be more
    found = invert_images(editor.generator, images, editor.settings, "held-out")
    scored = score_inverted(editor.head, editor.generator, images, found, source)
    print(f"protocol: {scored.protocol}")
    for name, iou in scored.iou.items():
        print(f"IoU {name}: {iou:.4f}" if iou == iou else f"IoU {name}: absent")  # NaN is no number, not even itself
    figures = {name: scored.figures[key] for name, key in HEADLINES.items()} | {"aurc": scored.coverage.aurc}
    for name, value in figures.items():
        print(f"{name}: {value:.4f}")
    if cfg.out:
        print(f"report: {write_evaluation(cfg, scored, classes)}")
    known = {f"IoU {name}": iou for name, iou in scored.iou.items() if iou == iou}
    return all_by(scored.protocol, figures | known)


def _images(cfg: DictConfig, classes: ClassList, resolution: int) -> tuple[LabelledImages, Source]:
    """Images with masks, and which they are."""
    if cfg.n is not None and cfg.n < 1:
        raise GanvasError(f"n={cfg.n} leaves nothing to score: give at least 1.")
    if cfg.images or cfg.masks:
        if not (cfg.images and cfg.masks):
            raise GanvasError("a folder is evaluated with both images=DIR and masks=DIR.")
        found = read_folder(cfg.images, cfg.masks, None, resolution, otherwise=classes)
        return found.take(range(len(found))[: cfg.n]), Source(f"images of {cfg.images}")
    if not is_rendered(cfg.data):
        raise GanvasError("a segmentation is scored on images=DIR with masks=DIR, or with data=avatars, styles, "
                          "rooms or scenes.")  # fmt: skip
    return render(cfg.data, cfg.n or IMAGES, "heldout", 0, resolution), heldout_source(cfg.data, 0)
