"""The report of a segmentation branch: figures with their protocol, and the pictures behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image

from launch.labelled_codes import Codes
from launch.record import RunRecord
from launch.reports.pictures import errors, heat, overlay, panels
from launch.reports.plots import class_bars, coverage_curves, label_curve, reliability
from launch.segmentation_scores import Scored
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.classes import ClassList
from networks.grids import save_png, to_uint8
from networks.metrics.uncertainty import image_uncertainty
from networks.segmentation import segment_latents

if TYPE_CHECKING:
    from launch.train_segmentation import Branch

SHOWN = 12            # labelled, held-out and generated images in the report
SURE, UNSURE = 6, 6   # of the samples: how many of the least and of the most uncertain
LISTED = 5            # most uncertain images that are named
USE = """```python
from editors import load

editor = load({arguments})
editor.segment("photo.png").save_png("masks")
```"""


class Section(NamedTuple):
    """A part of the report; without a picture it is text alone."""

    title: str
    text: str
    picture: str = ""   # path from the report

    def __str__(self) -> str:
        shown = f"![{self.title}]({self.picture})" if self.picture else ""
        return "\n\n".join(part for part in (f"## {self.title}", self.text, shown) if part)


def write_report(cfg: DictConfig, record: RunRecord, branch: Branch, figures: dict[str, float]) -> None:
    """Write ``report.md`` and its pictures into the record."""
    parts = [
        f"# {cfg.experiment or 'segmentation'}", f"`{cfg.command}`",
        f"A branch for {len(branch.labelled.classes)} classes from {_count(len(branch.labelled), 'labelled image')}: "
        f"head `{cfg.task.head.kind}`, {_count(branch.head.members, 'member')}, {branch.trained.steps} steps, seed "
        f"{cfg.seed}.",
        _figures_table(figures), _absent(branch), _scores_table(branch), _protocols(branch),
        *_sections(record, branch),
        Section("Use it", USE.format(arguments=_load_arguments(cfg, record))),
    ]  # fmt: skip
    record.write_report("\n\n".join(str(part) for part in parts if part) + "\n")
    if branch.scores:
        ious = [scored.iou for scored in branch.scores.values()]
        rows = [[name, *(None if np.isnan(iou[name]) else iou[name] for iou in ious)] for name in ious[0]]
        record.table("IoU", ["class", *branch.scores], rows)


def _load_arguments(cfg: DictConfig, record: RunRecord) -> str:
    bundle = f'"{record.export / "segmentation.safetensors"}"'
    return bundle if cfg.export.embed_generator else f'{bundle}, generator="{cfg.generator}"'


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _figures_table(figures: dict[str, float]) -> str:
    return "\n".join(["| figure | value |", "|---|---|", *(f"| {k} | {v:.4g} |" for k, v in figures.items())])


def _absent(branch: Branch) -> str:
    if not branch.trained.absent:
        return ""
    return f"Classes without a labelled pixel, which the branch cannot know: {', '.join(branch.trained.absent)}."


def _scores_table(branch: Branch) -> str:
    columns = {name: scored.figures for name, scored in branch.scores.items()}
    if not columns:
        return ""
    rows = {"mIoU, absent classes left out": "miou", "mIoU, absent classes count as 0 (DatasetGAN)": "miou_datasetgan",
            "pixel accuracy": "pixel_accuracy", "expected calibration error": "ece"}  # fmt: skip
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, key in rows.items():
        cells = ["-" if np.isnan(c[key]) else f"{c[key]:.4f}" for c in columns.values()]
        if set(cells) != {"-"}:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    areas = " | ".join(f"{scored.coverage.aurc:.4f}" for scored in branch.scores.values())
    lines.append(f"| area under the risk-coverage curve | {areas} |")
    for name in branch.labelled.classes.names:
        cells = ("absent" if np.isnan(c["iou"][name]) else f"{c['iou'][name]:.3f}" for c in columns.values())
        lines.append(f"| IoU {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _protocols(branch: Branch) -> str:
    lines = [f"- *{name}*: {scored.protocol}." for name, scored in branch.scores.items()]
    if lines:
        lines.append("- IoU is taken over the pixels of all images together; pixels marked *ignore* are left out.")
    return "\n".join(lines)


def _sections(record: RunRecord, branch: Branch) -> list[Section]:
    """The parts with pictures, in the order of the report."""
    classes = branch.labelled.classes
    found = [_labelled(record, branch)]
    found += [_predictions(record, branch, name, scored) for name, scored in branch.scores.items()]
    if branch.scores:
        iou = {name: scored.iou for name, scored in branch.scores.items()}
        found.append(Section("IoU of each class", "", _kept(record, "classes-iou", class_bars(iou, classes))))
        found += _trust(branch.scores, partial(_kept, record))
    if branch.curve:
        found.append(_curve(record, branch))
    return [*found, _samples(record, branch)]


def _kept(record: RunRecord, name: str, picture: object) -> str:
    return str(record.image(name, picture).relative_to(record.path))


def _labelled(record: RunRecord, branch: Branch) -> Section:
    classes, masks = branch.labelled.classes, branch.labelled.masks[:SHOWN]
    images = branch.labelled.images[:SHOWN].transpose(0, 2, 3, 1)
    sheet = {"image": images, branch.codes.caption: to_uint8(branch.codes.rendered[:SHOWN]),
             "label": overlay(images, masks, classes)}  # fmt: skip
    record.overlays("labelled", images, {"label": masks}, classes.names)
    which = f"The first {SHOWN} of what" if len(branch.labelled) > SHOWN else "What"
    text = f"{which} the branch learned from; {_origin(branch.codes)}."
    return Section("Labelled images", text, _kept(record, "labelled", panels(sheet, across=3, classes=classes)))


def _origin(codes: Codes) -> str:
    """Where the codes come from, and how well they fit."""
    fit = f"{codes.psnr.mean():.1f} dB (worst {codes.psnr.min():.1f})"
    if codes.known is None:
        return f"the inversions reach {fit}"
    return f"their codes are known, not inverted: those of `{codes.known}`, which render to the images at {fit}"


def _predictions(record: RunRecord, branch: Branch, title: str, scored: Scored) -> Section:
    classes = branch.labelled.classes
    name, sheet = title.replace(" ", "-"), _prediction_panels(scored, classes)
    masks = {scored.truth_is: scored.truth[:SHOWN].numpy(), "branch": scored.predicted[:SHOWN].numpy()}
    record.overlays(name, sheet["image"], masks, classes.names)
    picture = _kept(record, name, panels(sheet, across=2, classes=classes))
    return Section(title.capitalize(), _prediction_text(scored), picture)


def _prediction_panels(scored: Scored, classes: ClassList) -> dict[str, np.ndarray]:
    """The first images: what they are, what was made of them, both masks, errors, and where the members disagree."""
    pick = slice(0, SHOWN)
    truth, predicted = scored.truth[pick].numpy(), scored.predicted[pick].numpy()
    sheet = {
        "image": to_uint8(scored.images[pick]), scored.rendered_is: to_uint8(scored.rendered[pick]),
        scored.truth_is: classes.paint(truth), "branch": classes.paint(predicted), "wrong": errors(predicted, truth),
        "uncertain": heat(scored.uncertainty[pick].numpy(), _top(scored.uncertainty)),
    }  # fmt: skip
    if scored.images is scored.rendered:
        del sheet[scored.rendered_is]
    return sheet


def _prediction_text(scored: Scored) -> str:
    said, shown = str(scored.protocol), min(SHOWN, len(scored.truth))
    return (f"{said[0].upper()}{said[1:]}; the first {shown}. *Uncertain* is the members' "
            f"disagreement (Jensen-Shannon), white at {_top(scored.uncertainty):.2f} nats.\n\n"
            f"{_most_uncertain(scored)}")  # fmt: skip


def _trust(scores: Mapping[str, Scored], kept: Callable[[str, Image.Image], str]) -> list[Section]:
    """How far predictions can be trusted: error against coverage, and probabilities against truth."""
    curves = {name: scored.coverage for name, scored in scores.items()}
    text = ("Pixels in the order of the members' agreement: a curve that stays low means that the branch knows "
            "where it is unsure.")  # fmt: skip
    bins = {name: scored.reliability for name, scored in scores.items()}
    sure = ("Pixels in the order of the probability that the branch gives its class: below the dotted line it is surer "
            "than it is right. The error is the mean distance from that line.")  # fmt: skip
    return [
        Section("Error against coverage", text, kept("coverage", coverage_curves(curves))),
        Section("As sure as right", sure, kept("reliability", reliability(bins))),
    ]


def write_evaluation(cfg: DictConfig, scored: Scored, classes: ClassList) -> Path:
    """The report of a branch that was scored on held-out images: ``report.md`` and its pictures in ``cfg.out``."""
    out = Path(cfg.out)

    def kept(name: str, picture: Image.Image) -> str:
        path = Path("images") / f"{name}.png"
        save_png(np.asarray(picture.convert("RGB")), out / path)
        return str(path)

    rows = {"mIoU": "miou", "pixel accuracy": "pixel_accuracy", "expected calibration error": "ece"}
    figures = {name: scored.figures[key] for name, key in rows.items()}
    figures["area under the risk-coverage curve"] = scored.coverage.aurc
    sheet = panels(_prediction_panels(scored, classes), across=2, classes=classes)
    parts = [
        f"# {Path(cfg.segmentation).name}", f"`{cfg.command}`", _figures_table(figures),
        Section("Predictions", _prediction_text(scored), kept("predictions", sheet)),
        Section("IoU of each class", "", kept("classes-iou", class_bars({"images": scored.iou}, classes))),
        *_trust({"images": scored}, kept),
    ]  # fmt: skip
    with atomic_path(out / "report.md") as temporary:
        temporary.write_text("\n\n".join(map(str, parts)) + "\n")
    return out / "report.md"


def _most_uncertain(scored: Scored) -> str:
    """The images that the members agree on least, beside all of them: a person would look at these first."""
    unsure, accuracy = scored.image_uncertainty, scored.image_accuracy
    lines = ["| image | uncertainty of its most uncertain tenth (nats) | pixel accuracy |", "|---|---|---|",
             f"| all, on average | {unsure.mean():.3f} | {accuracy.nanmean():.3f} |"]  # fmt: skip
    first = unsure.argsort(descending=True)[:LISTED].tolist()
    return "\n".join(lines + [f"| {scored.names[i]} | {unsure[i]:.3f} | {accuracy[i]:.3f} |" for i in first])


def _curve(record: RunRecord, branch: Branch) -> Section:
    rows = [f"| {count} | {value:.4f} |" for count, value in branch.curve.items()]
    text = "\n".join(["The same head from fewer labels, on the same held-out images; each draw is the beginning of the "
                      "next.", "", "| labels | mIoU |", "|---|---|", *rows])  # fmt: skip
    return Section("How many labels it takes", text, _kept(record, "label-curve", label_curve(branch.curve)))


def _samples(record: RunRecord, branch: Branch) -> Section:
    """Fresh samples with their segmentation: the branch's most and least certain of 64."""
    latents = branch.generator.sample(64, seed=1)
    rendered, predictions = zip(*segment_latents(branch.head, branch.generator, latents), strict=True)
    images, ids = to_uint8(torch.cat(rendered)), torch.cat([p.mask for p in predictions]).numpy()
    js = torch.cat([p.disagreement for p in predictions])
    order = image_uncertainty(js).argsort().numpy()
    pick, classes = np.concatenate([order[:SURE], order[-UNSURE:]]), branch.labelled.classes
    sheet = {"sample": images[pick], "branch": overlay(images[pick], ids[pick], classes),
             "uncertain": heat(js.numpy()[pick], _top(js))}  # fmt: skip
    record.overlays("samples", images[pick], {"branch": ids[pick]}, classes.names)
    text = f"Of 64 samples the {SURE} that the members agree on most, then the {UNSURE} that they agree on least."
    return Section("Samples", text, _kept(record, "samples", panels(sheet, across=3, classes=classes)))


def _top(uncertainty: torch.Tensor) -> float:
    """Where the heat scale ends: a level that one pixel in two hundred passes."""
    return float(np.quantile(uncertainty.numpy(), 0.995))
