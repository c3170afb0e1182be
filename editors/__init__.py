"""What is done with a trained bundle, from a notebook or a script: no Hydra, no Lightning.

>>> from editors import load                                                  # doctest: +SKIP
>>> editor = load("runs/segmentation/avatars16/export/segmentation.safetensors")  # doctest: +SKIP
>>> editor.segment("photo.png").save_png("masks")                             # doctest: +SKIP
"""

from editors.blob_completion import CompletionSettings
from editors.blobs import BlobEdited, BlobEditor
from editors.collage import Collaged, CollageEditor
from editors.generator import GeneratorEditor
from editors.inversion_cache import InversionCache
from editors.invert import Inversion, InversionSettings
from editors.loading import load
from editors.mask_edit import Edited, EditSettings
from editors.mask_programs import parse_program
from editors.segmentation import Segmentation, SegmentationEditor
from editors.sequence import EditSequence
from editors.text_directions import RelevanceSettings, measure_relevance
from editors.text_optimise import TextEdited, TextOptimiser, TextSettings
from editors.text_relevance import relevance_of
from networks.checkpoints.classes import ClassList
from networks.checkpoints.collages import load_collage, save_collage
from networks.checkpoints.edits import load_edit, save_edit
from networks.collage import Transform
from networks.latent_edit import LatentEdit

__all__ = [
    "BlobEdited",
    "BlobEditor",
    "ClassList",
    "CollageEditor",
    "Collaged",
    "CompletionSettings",
    "EditSequence",
    "EditSettings",
    "Edited",
    "GeneratorEditor",
    "Inversion",
    "InversionCache",
    "InversionSettings",
    "LatentEdit",
    "RelevanceSettings",
    "Segmentation",
    "SegmentationEditor",
    "TextEdited",
    "TextOptimiser",
    "TextSettings",
    "Transform",
    "load",
    "load_collage",
    "load_edit",
    "measure_relevance",
    "parse_program",
    "relevance_of",
    "save_collage",
    "save_edit",
]
