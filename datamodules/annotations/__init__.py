"""What people drew in annotation tools, as masks: LabelMe, COCO, CVAT's exports, index and coloured PNGs."""

from datamodules.annotations.drawn import OVERLAPS, Drawing, Overlap, Problem, Shape
from datamodules.annotations.labelling import Labelling, read_labels

__all__ = ["OVERLAPS", "Drawing", "Labelling", "Overlap", "Problem", "Shape", "read_labels"]
