"""A feed-forward labeller beside the branch that taught it: the same held-out images by inversion, and both timed.

The branch inverts each image before it can segment it (EditGAN, Ling et al. 2021); the network looks at it once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from omegaconf import DictConfig

from editors import SegmentationEditor, load
from editors.images import to_tensor
from editors.invert import invert
from launch.figures import Figure, Protocol, all_by
from launch.hardware import device_of
from launch.segmentation_scores import invert_images, score_inverted
from launch.segmenter_data import Examples
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.segmentation import segment_latents
from networks.segmenters import Segmenter, label_images

REPEATS = 3  # the fastest of so many passes counts


def branch_of(cfg: DictConfig, found: Examples) -> SegmentationEditor | None:
    """The branch to compare with, if there is one.

    Raises:
        GanvasError: if it cannot be used, or knows other classes or sizes.
    """
    if cfg.task.against is None:
        return None
    editor = load(cfg.task.against, cfg.generator, device_of(cfg.trainer))
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"task.against={cfg.task.against} is a generator: give the bundle of a branch.")
    if editor.classes.names != found.heldout.classes.names:
        raise GanvasError(f"{cfg.task.against} knows other classes than the network learns: set task.against=null.")
    if editor.generator.img_resolution != found.resolution:
        raise GanvasError(f"{cfg.task.against} segments {editor.generator.img_resolution} pixels a side, and the "
                          f"network learns at {found.resolution}: set task.against=null.")  # fmt: skip
    return editor


def compare(
    cfg: DictConfig, editor: SegmentationEditor, network: Segmenter, found: Examples
) -> dict[str, Figure]:
    """MIoU of inversion and branch on the held-out images, and the seconds that each way takes for an image."""
    codes = invert_images(editor.generator, found.heldout, editor.settings, "held-out")
    scored = score_inverted(editor.head, editor.generator, found.heldout, codes, found.source)
    figures = all_by(scored.protocol, {"mIoU_branch": scored.figures["miou"]})
    if (drawn := over(scored.iou, cfg.task.drawn, found.heldout.classes)) is not None:
        figures["mIoU_branch_drawn"] = Figure(drawn, scored.protocol)
    some = found.heldout.take(range(min(cfg.task.timed, len(found.heldout))))
    images = to_tensor(torch.as_tensor(some.images))
    device = device_of(cfg.trainer)

    def by_inversion() -> None:
        inverted = invert(editor.generator, images, editor.settings)  # without the cache
        list(segment_latents(editor.head, editor.generator, inverted.latent))

    def directly() -> None:
        label_images(network, images.to(device))

    slow, fast = _seconds(by_inversion, 1, device), _seconds(directly, REPEATS, device)
    how = f"{found.resolution}x{found.resolution}, {len(some)} at once"
    protocol = Protocol(found.source.data, found.source.split, len(some), generator=editor.generator.hash, how=how)
    return figures | all_by(protocol, {
        "seconds_per_image": fast / len(some), "seconds_per_image_branch": slow / len(some), "speedup": slow / fast,
    })  # fmt: skip


def over(iou: Mapping[str, float], some: Sequence[str], classes: ClassList) -> float | None:
    """Mean IoU over some classes, those that never occur left out; None if none is named, or none occurs."""
    names = [classes.names[classes.id_of(name)] for name in some]
    known = [iou[name] for name in names if iou[name] == iou[name]]  # NaN is not itself
    return sum(known) / len(known) if known else None


def _seconds(work: Callable[[], None], repeats: int, device: torch.device) -> float:
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - begun)
    return min(found)
