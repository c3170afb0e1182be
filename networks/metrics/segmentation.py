"""Segmentation scores from one confusion matrix: both mIoU rules, pixel accuracy, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from networks.checkpoints.classes import IGNORE

BINS = 15  # of the calibration error (Guo et al. 2017, arXiv 1706.04599)


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Counts of pixels by (true class, predicted class), ``[K, K]``; pixels whose truth is 255 are left out.

    Args:
        prediction: class ids, any shape.
        truth: class ids of the same shape, 255 = ignore.

    Raises:
        ValueError: if the shapes differ or an id lies outside the classes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth must have one shape, got {list(prediction.shape)}, {list(truth.shape)}")
    scored = truth != IGNORE
    predicted, actual = prediction[scored].long(), truth[scored].long()
    for name, ids in (("prediction", predicted), ("truth", actual)):
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            raise ValueError(f"{name} holds class id {int(ids.max())}, but there are {num_classes} classes")
    return torch.bincount(actual * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, ``[K, K] -> [K]``; NaN where neither truth nor prediction has it."""
    inter = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    return inter / union  # 0 / 0 is the NaN


def miou(confusion: Tensor) -> float:
    """Mean IoU over the classes that occur in truth or prediction."""
    return iou_per_class(confusion).nanmean().item()


def miou_datasetgan(confusion: Tensor) -> float:
    """Mean IoU as DatasetGAN (Zhang et al. 2021, arXiv 2104.06490) takes it: a class that never occurs counts as 0."""
    return iou_per_class(confusion).nan_to_num(0.0).mean().item()


def calibration_error(count: Tensor, confidence: Tensor, correct: Tensor) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3) from the sums of each bin, ``[B]`` each."""
    return ((confidence - correct).abs().sum() / count.sum().clamp_min(1)).item()


class Reliability(NamedTuple):
    """How right pixels are by how sure the prediction is of them (Guo et al. 2017, figure 1).

    A bin without pixels has NaN.
    """

    edges: Tensor        # [B + 1], of the bins
    count: Tensor        # [B], pixels
    confidence: Tensor   # [B], mean probability of the predicted class
    accuracy: Tensor     # [B], share of them that are right
    error: float         # expected calibration error


class SegmentationScore:
    """Adds up predictions over batches, then scores them all at once.

    IoU is taken over the pixels of the whole set, never averaged over images: a small image and a rare class count by
    their pixels.

    Args:
        class_names: name of each class id; the keys of the per-class figures.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        classes = len(self.class_names)
        self.confusion = torch.zeros(classes, classes, dtype=torch.long)
        self._bins = torch.zeros(3, BINS, dtype=torch.float64)  # pixels, summed confidence, correct pixels

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: class probabilities ``[N, K, H, W]``, or class ids ``[N, H, W]``.
            truth: class ids ``[N, H, W]``, 255 = ignore.

        Raises:
            ValueError: if the shapes do not fit or an id lies outside the classes.
        """
        prediction, truth = prediction.detach().cpu(), truth.detach().cpu()
        classes = len(self.class_names)
        if prediction.ndim == 4:
            if prediction.shape[1] != classes:
                raise ValueError(f"probabilities must be [N, {classes}, H, W], got {list(prediction.shape)}")
            confidence, ids = prediction.max(1)
            self.confusion += confusion_matrix(ids, truth, classes)
            self._add_bins(confidence, ids, truth)
        else:
            self.confusion += confusion_matrix(prediction, truth, classes)

    def merge(self, other: SegmentationScore) -> None:
        """Add what another score has seen."""
        self.confusion += other.confusion
        self._bins += other._bins

    def _add_bins(self, confidence: Tensor, ids: Tensor, truth: Tensor) -> None:
        scored = truth != IGNORE
        confidence = confidence[scored].double()
        correct = (ids[scored] == truth[scored]).double()
        # Bins are open below and closed above, as in the paper; a confidence of 0 goes to the first.
        bins = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
        self._bins += torch.stack(
            [torch.bincount(bins, weights=w, minlength=BINS) for w in (torch.ones_like(correct), confidence, correct)]
        )

    def reliability(self) -> Reliability:
        """The reliability diagram of the pixels that came with probabilities."""
        count, confidence, correct = self._bins
        edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
        return Reliability(edges, count, confidence / count, correct / count, calibration_error(*self._bins))

    def compute(self) -> dict[str, float | dict[str, float]]:
        """All scores.

        Returns:
            ``miou`` (absent classes left out), ``miou_datasetgan`` (absent classes count as 0), ``pixel_accuracy``,
            ``ece`` (NaN unless every scored pixel came with probabilities) and ``iou``, a dict by class name with NaN
            for a class that occurs neither in truth nor in prediction.

        Raises:
            ValueError: if no pixel was scored.
        """
        total = self.confusion.sum()
        if total == 0:
            raise ValueError("no pixel was scored: every truth pixel is 255 (ignore), or update was never called")
        iou = iou_per_class(self.confusion).tolist()
        # Ids carry no confidence: a calibration error over a part of the pixels would mislead.
        calibrated = int(self._bins[0].sum()) == int(total)
        return {
            "miou": miou(self.confusion),
            "miou_datasetgan": miou_datasetgan(self.confusion),
            "pixel_accuracy": (self.confusion.diag().sum() / total).item(),
            "ece": calibration_error(*self._bins) if calibrated else float("nan"),
            "iou": dict(zip(self.class_names, iou, strict=True)),
        }
