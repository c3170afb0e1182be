"""The options of ``ganvas evaluate``."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import option
from launch.schema_bases import DataConfig, RecipeConfig
from launch.schema_edit import MaskEditConfig, TextEditConfig
from launch.schema_inversion import InversionConfig


@dataclass
class EvaluateConfig(TextEditConfig):
    """Measure a bundle: a generator by KID, FID, precision, recall; a segmentation by mIoU, accuracy, calibration.

    With recipe= an edit: whether it reaches what it is for, what else it changes, and whether the person stays. With
    recipe=blobs those of a BlobGAN's blobs, with recipe=collage regions of a class-conditional GAN's pictures, with
    recipe=reconstruction images as each of its classes; with text= or mapper= an edit by text, on held-out codes at
    several strengths.
    """

    segmentation: str | None = option(
        None, "segmentation bundle, scored on images= with masks=; with recipe=blobs the judge", bundle=True
    )
    segmenter: str | None = option(
        None, "with recipe=blobs, instead of segmentation=: labeller that judges by the image alone", bundle=True
    )
    layout: str | None = option(
        None, "with recipe=blobs: the scenes, as `ganvas sample` or `ganvas invert` wrote them; null: n= samples, or "
        "with data=rooms or data=scenes n= held-out pictures, inverted"
    )  # fmt: skip
    out: str | None = option(None, "folder for figures.json and config.yaml; null: the figures are printed alone")
    generator: str | None = option(
        None, "generator bundle; with segmentation= only if it lies neither beside that bundle nor in a zoo",
        bundle=True,
    )
    data: DataConfig = option(DataConfig, "the images that a generator is compared with; with recipe=blobs "
                              "data=rooms or data=scenes: held-out pictures with exact masks, whose layouts are edited")
    images: str | None = option(None, "folder of images")
    masks: str | None = option(None, "folder of PNG index masks named like the images")
    n: int | None = option(
        None, "how many images; null for all that have masks, for 2000 of a generator, for 400 that are edited, for "
        "300 codes that are edited by text, for 100 scenes of blobs, for 24 images that are reconstructed"
    )
    seed: int = option(0, "seed of what a generator draws, and of the images that an edit is learned from")
    truncation: float = option(1.0, "of a generator's samples: 1 for the whole variety")
    batch: int = option(64, "images a generator renders at once", memory=True)
    metrics_features: list[str] = option(
        lambda: ["efficientnet-lite0", "stlpips-alex"],
        "feature networks that a generator is measured by, also inception and inception-torchvision",
    )  # fmt: skip
    metrics_weights: str | None = option(None, "file of an Inception's weights; null for the torch hub folder's")
    allow_download: bool = option(False, "may an Inception's weights be fetched into the torch hub folder")
    device: str = option("cpu", "cpu or cuda")
    recipe: RecipeConfig = option(RecipeConfig, "which edit is measured: recipe=smile")
    method: str | None = option(
        None, "of recipe=: vector, learned from the recipe's examples (null, too); optimisation: each image by its own "
        "wished mask; boundary: InterFaceGAN's, from a classifier's labels of samples; of recipe=collage classes "
        "(null), features, lerp (both classes' pictures mixed) or pixels (those of another picture); of text= as for "
        "`ganvas edit`"
    )  # fmt: skip
    vector: list[str] = option(list, "vectors that are measured instead of learning one: bundles, or EditGAN's .npy")
    inversion_steps: int | None = option(
        None, "of the images of an edit, those that are learned from too; null: as the branch's bundle says"
    )  # fmt: skip
    strength: float = option(1.0, "of the vector or the boundary; of a collage from 0 to 1")
    inversion: InversionConfig = option(InversionConfig, "how images project, of recipe=collage and reconstruction "
                                      "and of recipe=blobs with data=rooms or data=scenes")
    strengths: list[float] = option(
        lambda: [0.25, 0.5, 1.0, 1.5, 2.0], "of an edit by text, each measured"
    )  # fmt: skip
    attribute: str | None = option(
        None, "what a text names, as the judge has it: `smile=yes`, several values as `hat=hat|winter hat`; null: by "
        "the table in launch/text_attributes.py; none: not measured"
    )  # fmt: skip
    affects: list[str] = option(list, "further attributes that a text may change; all others count as leakage")
    clip_judge: str | None = option(
        "zoo/clip_judge_avatars64.safetensors", "another CLIP than the one that edits are fitted to, which scores "
        "them; null: not measured", bundle=True
    )  # fmt: skip
    latents: str | None = option(
        None, "held-out codes as `ganvas sample` or `ganvas invert` wrote them; null: drawn, by a seed of their own"
    )  # fmt: skip
    refine: int = option(0, "steps of descent after them")
    judge: list[str] = option(
        list, "classifiers that say what images show, several by the mean of their probabilities; []: the zoo's judge, "
        "of edits by text the zoo's two classifiers", bundle=True
    )  # fmt: skip
    classifier: str = option(
        "zoo/attributes_avatars64.safetensors", "another classifier, whose labels a boundary is fitted to; of edits by "
        "text a second opinion: leakage counts what all agree on", bundle=True
    )  # fmt: skip
    identity: str | None = option(
        "zoo/identity_avatars64.safetensors", "embedding of persons; model_ir_se50.pth for faces; null: not measured",
        bundle=True,
    )
    table: str | None = option(None, "attributes of images=: a CSV, or CelebA's list_attr_celeba.txt")
    boundary_samples: int = option(4000, "samples that a boundary is fitted to, before the unsure are left out")
    edit: MaskEditConfig = option(MaskEditConfig, "how masks are edited")
