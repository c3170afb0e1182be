"""The options of ``ganvas edit``, and those of edits by text, which ``ganvas evaluate`` has too."""

from __future__ import annotations

from dataclasses import dataclass

from launch.options import MANDATORY, option
from launch.schema_bases import LoggedConfig
from launch.schema_inversion import InversionConfig


@dataclass
class MaskEditConfig:
    """Arguments of ``editors.mask_edit.EditSettings``."""

    _target_: str = option("editors.mask_edit.EditSettings", "class", runtime=("identity", "rows"))
    steps: int = option(60, "Adam steps for each image, at most")
    rate: float = option(0.1, "largest step, in standard deviations of W")
    ramp_up: float = option(0.05, "share of the steps in which the rate rises")
    ramp_down: float = option(0.25, "share of the steps in which it falls")
    patience: int = option(15, "an image stops after as many steps without gain")
    tolerance: float = option(0.005, "share of the lowest loss that counts as a gain")
    margin: float = option(0.02, "how far the region reaches beyond the edited classes, as a share of the side")
    labels: float = option(0.02, "weight of the wished classes inside the region")
    pixel: float = option(1.0, "weight of the mean squared pixel difference outside")
    perceptual: float = option(0.1, "weight of the perceptual distance outside")
    delta: float = option(0.01, "weight of the mean squared length of the step")
    critic: str = option("stlpips-alex", "perceptual distance: stlpips-alex, stlpips-vgg, lpips-alex or lpips-vgg")
    batch: int = option(16, "images edited at once", memory=True, free=True)


@dataclass
class PreserveConfig:
    """What an edit is to leave alone (``networks/preservation.py``); a weight of 0 leaves a term out."""

    identity: float = option(0.1, "weight of 1 - cosine of embeddings of the person")
    identity_network: str = option(
        "zoo/identity_avatars64.safetensors", "their network: a bundle, or model_ir_se50.pth, for faces", bundle=True
    )
    perceptual: float = option(0.0, "weight of the perceptual distance to the source")
    critic: str = option("stlpips-alex", "perceptual distance: stlpips-alex, stlpips-vgg, lpips-alex or lpips-vgg")
    outside: float = option(
        0.0, "weight of the mean absolute difference of pixels outside `region`, each class as much as another"
    )  # fmt: skip
    segmentation: str | None = option(None, "segmentation bundle that finds the region", bundle=True)
    region: list[str] = option(list, "classes that may change, e.g. [hair]")
    margin: float = option(0.02, "how far around them, as a share of the side")


@dataclass
class OptimiseConfig:
    """Arguments of ``editors.text_optimise.TextSettings``."""

    _target_: str = option("editors.text_optimise.TextSettings", "class")
    space: str = option("w+", "w+, or s: the styles of the convolutions")
    steps: int = option(100, "Adam steps for each image, at most")
    rate: float = option(0.1, "largest step, in the unit of `units`")
    ramp_up: float = option(0.05, "share of the steps in which the rate rises")
    ramp_down: float = option(0.25, "share of the steps in which it falls")
    patience: int = option(30, "an image stops after as many steps without gain")
    tolerance: float = option(0.001, "share of the lowest loss that counts as a gain")
    clip: float = option(0.0, "weight of the distance between image and text; the original's is 1")
    directional: float = option(1.0, "weight of the distance between the image's change and the text's")
    l2: float = option(0.1, "weight of the step's squared length; the original's is 0.008 with units=raw")
    units: str = option(
        "deviations", "of rate and length: deviations (of the codes; the mean over them), or raw (codes as they are; "
        "the sum, as the original has it)"
    )  # fmt: skip
    levels: list[str] = option(lambda: ["coarse", "medium", "fine"], "levels of the layers that may move")
    resolution: int = option(256, "pixels a side that images are rendered at, at most")
    batch: int = option(16, "images optimised at once", memory=True, free=True)


@dataclass
class TextEditConfig(LoggedConfig):
    """Edits by text."""

    text: str | None = option(None, "what images are to show: text='a woman with red hair'; null: as mapper= says")
    neutral: str | None = option(
        None, "what they show anyway; several texts, separated by |, count by their mean; null: as mapper= says "
        "(which takes no other), else `a person`"
    )  # fmt: skip
    mapper: str | None = option(
        None, "bundle of an edit: a mapper fitted to a text (`ganvas train task=mapper`), a direction, a vector",
        bundle=True,
    )  # fmt: skip
    clip: str = option(
        "avatar", "the CLIP that texts are read by: avatar (the zoo's), a bundle, open_clip:MODEL:FILE or "
        "transformers:FOLDER", bundle=True
    )  # fmt: skip
    directions: str | None = option(
        None, "method=direction: what the generator's channels do (`ganvas train task=directions`); null: the zoo's, "
        "or measured once, by gradients, and kept", bundle=True
    )  # fmt: skip
    alpha: float = option(3.0, "method=direction: deviations that the most relevant channel moves at strength 1")
    beta: float | None = option(None, "method=direction: channels of less relevance stay ...")
    channels: int | None = option(None, "... or: how many of the most relevant move; null for both: 50")
    optimise: OptimiseConfig = option(OptimiseConfig, "method=optimise: how codes are found")
    preserve: PreserveConfig = option(
        lambda: PreserveConfig(identity=0.3, perceptual=0.5), "method=optimise: what stays"
    )  # fmt: skip


@dataclass
class EditConfig(TextEditConfig):
    """Edit images: by a text, a wished mask, a program that makes one, or vectors; scenes by blobs; or as a collage.

    Scenes of a BlobGAN are edited by their blobs; with classmap=, reference= or script= regions take classes, or
    features of other pictures.
    """

    method: str | None = option(
        None, "of text=: mapper, optimise (each image by descent) or direction (channels of the generator that the "
        "text is about); null: mapper if mapper= is given, else direction"
    )  # fmt: skip

    segmentation: str | None = option(None, "segmentation bundle; needed but for blobs and collages", bundle=True)
    generator: str | None = option(
        None, "generator bundle, if it lies neither beside that bundle nor in a zoo; without segmentation= for blobs a "
        "BlobGAN's, for a collage a class-conditional GAN's or StyleGAN2's, for vector= any", bundle=True,
    )  # fmt: skip
    layout: str | None = option(None, "scenes of blobs as `ganvas sample` drew them from a BlobGAN, instead of image=")
    scenes: list[int] = option(list, "of blobs: numbers of the scenes that are edited; [] for all")
    source: str | None = option(
        None, "of blobs: scenes that steps take from, named by their numbers; null: those that are edited"
    )  # fmt: skip
    move: str | None = option(None, "of blobs: move=3:+0.2,0 is short for program='move 3 0.2 0'")
    script: str | None = option(
        None, "a file of steps as data, .yaml or .json: of blobs instead of program=, or a collage's, also a recorded "
        "collage.safetensors"
    )  # fmt: skip
    like: str | None = option(
        None, "of blobs: scenes as `ganvas sample` drew them, one for each that is edited, whose look these take: "
        "codes near theirs are sought whose blobs lie as here"
    )  # fmt: skip
    keep: list[int] = option(list, "of blobs: those that stay, while the rest of the scene is drawn anew")
    only_places: bool = option(
        False, "with keep=: what is drawn anew is to fit only where those blobs lie, not what is in them: more is new"
    )  # fmt: skip
    seed: int = option(0, "with keep=: of what is drawn anew")
    video: int = option(0, "of blobs: frames of video.gif, from no edit to all of it; 0 for none")
    image: str | None = option(
        None, "an image, or a folder of images; with a BlobGAN as generator= the blobs that they have are found first"
    )
    landmarks: str | None = option(
        None, "of faces, for generators of aligned ones: a file with 68 or 5 points of the image, or a folder of them "
        "named like the images (.json, .txt, .npz, .npy); the face is cut out, and paste= puts it back"
    )  # fmt: skip
    latents: str | None = option(None, "codes as `ganvas sample` or `ganvas invert` wrote them, instead of image=")
    mask: str | None = option(
        None, "the wished mask, or a folder of masks named like the images; with reference= where its features arrive"
    )
    program: str | None = option(
        None, "how to make the wished mask from the one that the branch sees, e.g. `grow hair 0.05; remove glasses`; "
        "actions are grow, shrink, scale, shift, remove, replace; of blobs what happens to them, e.g. "
        "`move 3 0.2 0; remove 5` (docs/blobs.md)"
    )  # fmt: skip
    classes: list[str] = option(
        list, "classes that are edited wherever they are; [] for those that come or go; with classmap= what its ids "
        "from 1 on stand for, [] for all of the generator's, or of codes="
    )  # fmt: skip
    vector: list[str] = option(list, "editing vectors, applied together: bundles, or EditGAN's .npy")
    strength: list[float] = option(
        lambda: [1.0], "of each vector; one for all; negative for the opposite; of a collage one from 0 to 1"
    )
    refine: int = option(0, "steps of descent after a vector, which take back what it changed beside")
    strip: list[float] = option(
        lambda: [-1.0, 0.0, 0.5, 1.0, 1.5],
        "factors of the strength that strip.png shows; of a collage those from 0 to 1",
    )
    paste: str | None = option(
        None, "feather, poisson or poisson-mixed: show the edit in the image itself; null: as rendered"
    )
    name: str | None = option(None, "what the vector of an edit is called; null: edit, or as vector= is")
    out: str = option(MANDATORY, "folder to write to")
    device: str = option("cpu", "cpu or cuda")
    edit: MaskEditConfig = option(MaskEditConfig, "how a mask is edited")
    classmap: str | None = option(None, "a collage: a map of classes (docs/collage.md), or a folder of them")
    codes: str | None = option(
        None, "with classmap=: codes that its regions are painted with, as StyleGAN2 needs them; classes= are then "
        "items of it, by name or number, [] for all"
    )  # fmt: skip
    reference: str | None = option(
        None, "a collage: codes or an image whose features are pasted where mask= is; with layout= see source="
    )
    item: str | None = option(None, "with reference=: which of its pictures, by name or number")
    layers: list[str] = option(
        lambda: ["all"], "of a collage: all, first, all but the first, or names of layers, each also as NAME:WEIGHT"
    )
    feather: float = option(0.0, "of a collage: soft edge of its regions, as a share of the image's width")
    right: float = option(0.0, "with reference=: its features are moved to the right, in widths of the image")
    down: float = option(0.0, "with reference=: and downwards")
    scale: float = option(1.0, "with reference=: and made so many times as large")
    mirror: bool = option(False, "with reference=: and turned from right to left")
    preserve_variance: bool = option(False, "of a collage: keep the spread of features that soft masks mix")
    inversion: InversionConfig = option(InversionConfig, "of a collage: how images are inverted")
