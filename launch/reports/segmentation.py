"""The report of a segmentation branch: figures with their protocol, and the pictures behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig

from launch.record import RunRecord
from launch.reports.pictures import errors, heat, legend, overlay, panels
from launch.reports.plots import class_bars, coverage_curves
from launch.segmentation_scores import Scored
from networks.grids import to_uint8
from networks.metrics.uncertainty import image_uncertainty
from networks.segmentation import predict

if TYPE_CHECKING:
    from launch.train_segmentation import Branch

SHOWN = 12          # held-out and generated images in the report
SURE, UNSURE = 6, 6  # of the generated ones: how many of the least and of the most uncertain


def write_report(cfg: DictConfig, record: RunRecord, branch: Branch, figures: dict[str, float]) -> None:
    """Write ``report.md`` and its pictures into the record."""
    pictures = _pictures(record, branch)
    sections = [
        f"# {cfg.experiment or 'segmentation'}", f"`{cfg.command}`",
        f"A branch for {len(branch.labelled.classes)} classes from {len(branch.labelled)} labelled images: "
        f"head `{cfg.task.head.kind}`, {branch.head.members} members, {branch.trained.steps} steps, seed {cfg.seed}.",
        _figures_table(figures), _absent(branch), _scores_table(branch), _protocols(branch),
        *(f"## {title}\n\n{text}\n\n![{title}]({path})" for title, text, path in pictures),
    ]  # fmt: skip
    record.write_report("\n\n".join(section for section in sections if section) + "\n")


def _figures_table(figures: dict[str, float]) -> str:
    return "\n".join(["| figure | value |", "|---|---|", *(f"| {k} | {v:.4g} |" for k, v in figures.items())])


def _absent(branch: Branch) -> str:
    if not branch.trained.absent:
        return ""
    return f"Classes without a labelled pixel, which the branch cannot know: {', '.join(branch.trained.absent)}."


def _scores_table(branch: Branch) -> str:
    columns = {name: scored.figures for name, scored in branch.scores.items()}
    if branch.folds is not None:
        columns["k-fold on the labels"] = branch.folds
    if not columns:
        return ""
    rows = {"mIoU, absent classes left out": "miou", "mIoU, absent classes count as 0 (DatasetGAN)": "miou_datasetgan",
            "pixel accuracy": "pixel_accuracy", "expected calibration error": "ece"}  # fmt: skip
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, key in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{c[key]:.4f}' for c in columns.values())} |")
    for name in branch.labelled.classes.names:
        cells = ("absent" if np.isnan(c["iou"][name]) else f"{c['iou'][name]:.3f}" for c in columns.values())
        lines.append(f"| IoU {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _protocols(branch: Branch) -> str:
    lines = [f"- *{name}*: {scored.protocol}." for name, scored in branch.scores.items()]
    if branch.folds is not None:
        lines.append(f"- *k-fold on the labels*: each of the {len(branch.labelled)} labelled images scored by a head "
                     "that did not see it.")  # fmt: skip
    lines.append("- IoU is taken over the pixels of all images together; pixels marked *ignore* are left out.")
    return "\n".join(lines)


def _pictures(record: RunRecord, branch: Branch) -> list[tuple[str, str, str]]:
    """(title, text, path from the report) of each picture."""
    classes = branch.labelled.classes
    found = [("Classes", "", record.image("classes", legend(classes)))]
    images = branch.labelled.images.transpose(0, 2, 3, 1)
    sheet = {
        "image": images, "inverted": to_uint8(branch.inversion.reconstruction),
        "label": overlay(images, branch.labelled.masks, classes),
    }  # fmt: skip
    psnr = branch.inversion.psnr.mean()
    found.append(("Labelled images", f"What the branch learned from; their inversions reach {psnr:.1f} dB.",
                  record.image("labelled", panels(sheet, across=4))))  # fmt: skip
    for name, scored in branch.scores.items():
        found.append(_predictions(record, branch, name, scored))
    if branch.scores:
        iou = {name: scored.iou for name, scored in branch.scores.items()}
        found.append(("IoU of each class", "", record.image("classes-iou", class_bars(iou, classes))))
        curves = {name: scored.coverage for name, scored in branch.scores.items()}
        found.append(("Error against coverage", "Pixels in the order of the members' agreement: a curve that stays low "
                      "means that the branch knows where it is unsure.",
                      record.image("coverage", coverage_curves(curves))))  # fmt: skip
    found.append(_samples(record, branch))
    return [(title, text, str(path.relative_to(record.path))) for title, text, path in found]


def _predictions(record: RunRecord, branch: Branch, name: str, scored: Scored) -> tuple:
    classes, pick = branch.labelled.classes, slice(0, SHOWN)
    truth, predicted = scored.truth[pick].numpy(), scored.predicted[pick].numpy()
    unsure = scored.uncertainty[pick].numpy()
    sheet = {
        "image": to_uint8(scored.images[pick]), "rendered": to_uint8(scored.rendered[pick]),
        "truth": classes.paint(truth), "branch": classes.paint(predicted), "wrong": errors(predicted, truth),
        "uncertain": heat(unsure, float(np.quantile(scored.uncertainty.numpy(), 0.995))),
    }  # fmt: skip
    if scored.images is scored.rendered:
        del sheet["rendered"]
    file = record.image(name.replace(" ", "-"), panels(sheet, across=2))
    return name.capitalize(), f"The first {len(truth)}: {scored.protocol}.", file


@torch.no_grad()
def _samples(record: RunRecord, branch: Branch) -> tuple:
    """Fresh samples with their segmentation: the branch's most and least certain of 64."""
    rendered, masks, unsure = [], [], []
    for part in branch.generator.sample(64, seed=1).split(8):
        image, features = branch.generator.render(part, features=True)
        prediction = predict(branch.head, features)
        rendered.append(image)
        masks.append(prediction.mask)
        unsure.append(prediction.disagreement)
    images, ids, js = to_uint8(torch.cat(rendered)), torch.cat(masks).numpy(), torch.cat(unsure)
    order = image_uncertainty(js).argsort().numpy()
    pick = np.concatenate([order[:SURE], order[-UNSURE:]])
    sheet = {"sample": images[pick], "branch": overlay(images[pick], ids[pick], branch.labelled.classes),
             "uncertain": heat(js.numpy()[pick], float(js.quantile(0.995)))}  # fmt: skip
    text = f"Of 64 samples the {SURE} that the members agree on most, then the {UNSURE} that they agree on least."
    return "Samples", text, record.image("samples", panels(sheet, across=3))
