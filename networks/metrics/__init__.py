"""Figures of merit: pure functions, and accumulators where a set comes in batches."""

from networks.metrics.fid import fid
from networks.metrics.kid import extract_features, kid
from networks.metrics.precision_recall import precision_recall
from networks.metrics.psnr import psnr
from networks.metrics.segmentation import SegmentationScore
from networks.metrics.uncertainty import RiskCoverage, image_uncertainty, jensen_shannon, risk_coverage

__all__ = [
    "RiskCoverage",
    "SegmentationScore",
    "extract_features",
    "fid",
    "image_uncertainty",
    "jensen_shannon",
    "kid",
    "precision_recall",
    "psnr",
    "risk_coverage",
]
