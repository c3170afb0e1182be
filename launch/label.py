"""``ganvas label``: which images to label next, as a folder for annotation tools; with ``import=``, the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from datamodules.annotations.pictures import image_size
from datamodules.folder import by_stem, read_classes
from editors.inversion_cache import InversionCache
from editors.invert import invert
from editors.loading import load
from editors.ownership import require_owner
from editors.segmentation import SegmentationEditor
from launch import label_import
from launch.hardware import require_device
from launch.invert import inversion_settings, read_images
from launch.label_kit import LATENTS, Kit, write_kit
from launch.limits import require_at_least, require_finite
from networks.checkpoints.classes import ClassList
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import load_generator
from networks.checkpoints.latents import load_latent
from networks.checkpoints.squares import classes_from_square
from networks.critics import feature_network
from networks.latent import Latent
from networks.protocol import Generator
from networks.rendering import render_batches
from networks.segmentation import segment_latents
from networks.selection import critic_features, disagreement, generator_features, k_center

OWN = "generator"  # of features=


@dataclass(frozen=True)
class Candidates:
    """Images that may be labelled."""

    latent: Latent                          # their codes; of photos, those that an inversion would start from
    names: tuple[str, ...]
    photos: tuple[Path, ...] = ()           # their files, where they are real
    pixels: Tensor | None = None            # of photos, as the generator would have them, [N, 3, R, R]
    windows: Tensor | None = None           # where each photo lies in its square, int64 [N, 4]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> Candidates:
        """Some of them, in this order."""
        index = torch.as_tensor([*rows], dtype=torch.long)
        return Candidates(
            self.latent[index], tuple(self.names[i] for i in rows), tuple(self.photos[i] for i in rows if self.photos),
            None if self.pixels is None else self.pixels[index],
            None if self.windows is None else self.windows[index],
        )  # fmt: skip


def run(cfg: DictConfig) -> None:
    """Choose ``cfg.n`` images and write the folder to label them in, or read what was labelled.

    Raises:
        GanvasError: if nothing says what to choose from, or something given cannot be used.
    """
    if cfg.labelled:
        label_import.run(cfg)
        return
    if not (cfg.generator or cfg.segmentation):
        raise GanvasError("give generator=, to choose images to label, or import=, what was labelled.")
    require_finite(cfg, "truncation")
    require_device(cfg.device)
    require_at_least(cfg, {"n": 1, "candidates": 1, "batch": 1, "seed": 0})
    network = None if cfg.features == OWN else feature_network(cfg.features)
    editor, generator = _networks(cfg)
    classes = _classes(cfg, editor)
    earlier, seen = _earlier(cfg, generator)
    candidates = _candidates(cfg, generator, seen)
    codes = _joined(earlier, candidates.latent)
    features = (
        generator_features(generator, codes, cfg.batch, progress=True) if network is None
        else critic_features(network, generator, codes, cfg.batch, progress=True)
    )  # fmt: skip
    doubt = None if editor is None else disagreement(editor.head, generator, codes, cfg.batch, progress=True)
    first = len(codes) - len(candidates)
    rows = k_center(features, cfg.n, range(first), doubt)
    chosen = _finished(cfg, generator, candidates.take([row - first for row in rows]))
    proposals = [] if editor is None else _proposals(editor, chosen)
    images = list(render_batches(generator, chosen.latent, cfg.batch)) if not chosen.photos else [chosen.pixels]
    kit = Kit(
        chosen.names, torch.cat(images).clamp(-1, 1), chosen.photos, chosen.latent.to("cpu"), classes, tuple(proposals)
    )
    for line in write_kit(Path(cfg.out), kit, cfg):
        print(line)


def _networks(cfg: DictConfig) -> tuple[SegmentationEditor | None, Generator]:
    if not cfg.segmentation:
        return None, load_generator(cfg.generator).to(cfg.device)
    editor = load(cfg.segmentation, cfg.generator, cfg.device)
    if not isinstance(editor, SegmentationEditor):
        raise GanvasError(f"segmentation={cfg.segmentation} is a generator: give it as generator=, or a branch here.")
    return editor, editor.generator


def _classes(cfg: DictConfig, editor: SegmentationEditor | None) -> ClassList | None:
    given = read_classes(Path(cfg.classes)) if cfg.classes else None
    if given is not None and editor is not None and given != editor.classes:
        raise GanvasError(f"classes={cfg.classes} are not those of {cfg.segmentation}: leave one of the two out.")
    return editor.classes if editor is not None else given


def _earlier(cfg: DictConfig, generator: Generator) -> tuple[list[Latent], set[str]]:
    """The codes of earlier rounds, and the names that they have taken."""
    found: list[Latent] = []
    names: set[str] = set()
    for folder in cfg.earlier:
        latent, own = load_latent(Path(folder) / LATENTS)
        try:
            require_owner(latent, generator)
        except GanvasError as error:
            raise GanvasError(f"{folder} does not fit: {error}.") from error
        found.append(latent)
        names |= {*own}
    return found, names


def _candidates(cfg: DictConfig, generator: Generator, seen: set[str]) -> Candidates:
    """What is chosen from, without what earlier rounds chose.

    Raises:
        GanvasError: if there are fewer than ``cfg.n``.
    """
    if cfg.images:
        files = by_stem(Path(cfg.images), "images")
        pixels, windows, names = read_images(Path(cfg.images), generator)
        # Where an inversion starts is near enough to tell images apart; only those chosen are inverted to the end.
        quick = replace(inversion_settings(cfg.inversion), steps=0)
        start = invert(generator, pixels, quick, cache=InversionCache(), names=names, progress=True, windows=windows)
        found = Candidates(start.latent, names, tuple(files[name] for name in names), start.target.cpu(), windows)
        what = f"images={cfg.images}"
    else:
        latent = generator.sample(cfg.candidates, cfg.seed, truncation=cfg.truncation)
        found = Candidates(latent, tuple(f"s{cfg.seed}-{i:05d}" for i in range(cfg.candidates)))
        what = f"candidates={cfg.candidates}"
    left = [i for i, name in enumerate(found.names) if name not in seen]
    if len(left) < cfg.n:
        raise GanvasError(f"n={cfg.n} images cannot be chosen of {what}, which leave {len(left)}: ask for fewer.")
    return found.take(left)


def _joined(earlier: Sequence[Latent], latent: Latent) -> Latent:
    try:
        return Latent.cat([item.to("cpu") for item in (*earlier, latent)])
    except ValueError as error:
        raise GanvasError(f"the codes of earlier= and those to choose from do not go together ({error}).") from error


def _finished(cfg: DictConfig, generator: Generator, chosen: Candidates) -> Candidates:
    """The chosen ones with codes to train on: photos are inverted now."""
    if not chosen.photos:
        return chosen
    found = invert(
        generator, chosen.pixels, inversion_settings(cfg.inversion), cache=InversionCache(), names=chosen.names,
        progress=True, windows=chosen.windows,
    )  # fmt: skip
    print(f"inverted at {found.psnr.mean():.1f} dB on average, the worst at {found.psnr.min():.1f} dB")
    return replace(chosen, latent=found.latent)


def _proposals(editor: SegmentationEditor, chosen: Candidates) -> list[np.ndarray]:
    """What the branch sees in each, ``uint8`` of the size of the image that is labelled."""
    size = (editor.generator.img_resolution,) * 2
    sizes = [image_size(path) for path in chosen.photos] or [size] * len(chosen)
    pieces = segment_latents(editor.head, editor.generator, chosen.latent, batch=1)
    return [
        classes_from_square(seen.prediction.probabilities[0].numpy(), *own)
        for seen, own in zip(pieces, sizes, strict=True)
    ]
