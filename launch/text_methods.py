"""Edits by text, by any of StyleCLIP's methods: what `ganvas edit text=` applies and `ganvas evaluate` measures."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from editors.text_optimise import TextOptimiser, TextSettings
from editors.text_relevance import relevance_of
from launch.figures import read_figures
from launch.options import arguments, options
from launch.preserve import preserved_of
from launch.schema_edit import TextEditConfig
from networks.checkpoints.bundle import Manifest, owner_of, read_manifest
from networks.checkpoints.conditioned import KIND as CONDITIONED
from networks.checkpoints.conditioned import text_edit
from networks.checkpoints.edits import load_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.generators import find_generator, load_generator
from networks.checkpoints.zoo import resolve
from networks.clip import ClipIdentity, ClipModel, load_clip
from networks.latent import Latent
from networks.latent_edit import LatentEdit
from networks.mapper import MapperEdit, in_space
from networks.protocol import Generator
from networks.relevance import global_direction, text_direction

METHODS = ("mapper", "optimise", "direction")
NEUTRAL = "a person"
CHANNELS = 50   # that a direction moves where neither beta= nor channels= is given
# What only one method reads: given with another, it would be passed over in silence.
_OF_METHOD = {"mapper": "mapper", "directions": "direction", "alpha": "direction", "beta": "direction",
              "channels": "direction", "optimise": "optimise", "preserve": "optimise"}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What is asked for: by the command, or else by the bundle of mapper=."""

    method: str
    text: str
    neutral: str
    manifest: Manifest = field(default_factory=dict)   # of mapper=

    @classmethod
    def of(cls, cfg: DictConfig) -> Said:
        """Read the options, before any network is.

        Raises:
            GanvasError: if options contradict one another, or nothing says what is wished.
        """
        method = cfg.method or ("mapper" if cfg.mapper else "direction")
        if method not in METHODS:
            raise GanvasError(f"method={method} must be one of {', '.join(METHODS)}.")
        plain = OmegaConf.structured(TextEditConfig)
        for key, _ in options(TextEditConfig):
            owner = _OF_METHOD.get(key.partition(".")[0], method)
            if method != owner and OmegaConf.select(cfg, key) != OmegaConf.select(plain, key):
                raise GanvasError(f"{key}= goes with method={owner}, and method={method}: leave one of them out.")
        if method == "mapper" and not cfg.mapper:
            raise GanvasError("method=mapper needs mapper=FILE: fit one with `ganvas train experiment=mapper/avatars "
                              f"text='{cfg.text}'`.")  # fmt: skip
        manifest = read_manifest(resolve(cfg.mapper)) if cfg.mapper else {}
        text = cfg.text if cfg.text is not None else str(manifest.get("text") or "")
        if not text.strip():
            raise GanvasError("nothing says what images are to show: give text='a smiling person'.")
        own = str(manifest.get("neutral") or "")
        if cfg.neutral is not None and not cfg.neutral.strip():
            raise GanvasError(f"neutral={cfg.neutral} says nothing: give what images show anyway, or leave it out.")
        if cfg.neutral is not None and own and cfg.neutral != own:
            raise GanvasError(f"{cfg.mapper} begins at its own neutral text '{own}', not at '{cfg.neutral}': leave "
                              "neutral= out, or fit another.")  # fmt: skip
        return cls(method, text, cfg.neutral or own or NEUTRAL, manifest)

    @property
    def clips(self) -> list[ClipIdentity]:
        """Those that the edit of mapper= was fitted to; none where its bundle does not say.

        Raises:
            GanvasError: if the bundle names one without saying which.
        """
        named = self.manifest.get("clips")
        return [ClipIdentity.from_json(c) for c in named if isinstance(c, Mapping)] if isinstance(named, list) else []

    def is_by(self, clip: ClipIdentity) -> bool:
        """Whether figures by this CLIP are by one that the edit was fitted to, as far as is known."""
        return not self.clips or clip in self.clips


@dataclass(frozen=True)
class Found:
    """Codes, and what a method makes of them."""

    said: Said
    before: Latent                          # [N], in the space that the method works in
    at: Callable[[float], Latent]           # the codes at a strength
    edit: LatentEdit                        # to save and to apply to others; of method=optimise the mean step
    figures: dict[str, float] = field(default_factory=dict)
    learned: bool = True                    # here, and not read from a file
    preparation: float = 0.0                # seconds, once for a generator
    training: float = 0.0                   # seconds, once for a text
    inference: float = 0.0                  # seconds, of all images together; rendering is not in it

    def entries(self, clip: ClipIdentity, command: str) -> dict[str, Any]:
        """What a bundle of the edit says of it, whatever is measured."""
        module = self.edit.module
        scale = module.stages[0][0].mapper.recipe.step_scale if isinstance(module, MapperEdit) else 1.0
        return {"text": self.said.text, "neutral": self.said.neutral, "method": self.said.method,
                "clips": [clip.to_json()], "step_scale": scale, "command": command,
                "licence": "that of its generator"}  # fmt: skip


def generator_of(cfg: DictConfig) -> Generator:
    """The generator that is given, or else the one that the bundle of mapper= or directions= names.

    Raises:
        GanvasError: if there is none.
    """
    if cfg.generator:
        return load_generator(cfg.generator).to(cfg.device)
    path = cfg.mapper or cfg.directions
    owner = owner_of(read_manifest(resolve(path))) if path else None
    if not owner:
        raise GanvasError("text= needs generator=FILE, the bundle of the generator whose images are edited.")
    return load_generator(find_generator(owner, resolve(path))).to(cfg.device)


def clip_of(cfg: DictConfig, said: Said) -> ClipModel:
    """The CLIP that texts are read by, given images as mapper= was; a warning if mapper= was fitted to another.

    Raises:
        GanvasError: if it cannot be read.
    """
    fitted = said.manifest.get("clips") or [said.manifest.get("clip") or {}]
    clip = load_clip(cfg.clip, legacy=_legacy(fitted)).to(cfg.device)
    if not said.is_by(clip.identity):
        print(f"warning: {cfg.mapper} was fitted to {' and '.join(map(str, said.clips))}, and figures of fit are by "
              f"clip={cfg.clip}, {clip.identity}: give clip= what it was fitted to", file=sys.stderr)  # fmt: skip
    return clip


def _legacy(clips: Any) -> bool:
    """Whether a mapper saw images as the original StyleCLIP gave them, without mean and deviation."""
    described = [clip for clip in clips if isinstance(clip, Mapping)] if isinstance(clips, list) else []
    prepared = [clip.get("preprocessing") for clip in described]
    return any(isinstance(how, Mapping) and how.get("legacy") is True for how in prepared)


def find(
    cfg: DictConfig, said: Said, generator: Generator, clip: ClipModel, latent: Latent, names: Sequence[str]
) -> Found:  # fmt: skip
    """Edit codes by the method that is asked for.

    Args:
        cfg: of ``ganvas edit`` or ``ganvas evaluate``.
        said: what is wished.
        generator: whose codes they are.
        clip: that the text is read by.
        latent: ``[N]``, in W+ or what the generator samples in.
        names: of the images, for sentences.

    Raises:
        GanvasError: if the edit cannot be made, or does not fit the generator.
    """
    way = {"mapper": _by_file, "optimise": _by_descent, "direction": _by_direction}[said.method]
    return way(cfg, said, generator, clip, latent, names)


def _by_file(
    cfg: DictConfig, said: Said, generator: Generator, clip: ClipModel, latent: Latent, names: Sequence[str]
) -> Found:  # fmt: skip
    path, manifest = resolve(cfg.mapper), said.manifest
    begun = time.monotonic()
    conditioned = manifest["kind"] == CONDITIONED
    edit = text_edit(path, said.text, clip) if conditioned else load_edit(path)
    if edit.generator_hash and generator.hash and edit.generator_hash != generator.hash:
        raise GanvasError(f"{path} belongs to generator {edit.generator_hash[:12]}, and the one given is "
                          f"{generator.hash[:12]}: give its own.")  # fmt: skip
    fitted = manifest.get("text")
    if cfg.text is not None and fitted is not None and cfg.text != fitted:
        raise GanvasError(f"{path} was fitted to '{fitted}', not to '{cfg.text}': leave text= out, or fit another.")
    before = in_space(generator, latent, edit.space)
    read = time.monotonic()
    _applied(edit, before, 1.0, path)
    spent = time.monotonic() - read
    # A text costs a conditioned mapper its encoding; its own training was once for all texts.
    once, each = (_run_seconds(path), read - begun) if conditioned else (0.0, _run_seconds(path))
    return Found(
        said, before, lambda strength: _applied(edit, before, strength, path), edit, {}, conditioned, once, each, spent
    )


def _run_seconds(path: Path) -> float:
    """How long the run took whose export a bundle is; not a number where that is not known."""
    run = read_figures(path.parent.parent) if path.parent.name == "export" else None
    return math.nan if run is None or run.seconds is None else run.seconds


def _applied(edit: LatentEdit, latent: Latent, strength: float, path: Path) -> Latent:
    try:
        return edit.apply(latent, strength)
    except ValueError as error:
        raise GanvasError(f"{path} cannot be applied to these codes: {error}.") from error


def _by_descent(
    cfg: DictConfig, said: Said, generator: Generator, clip: ClipModel, latent: Latent, names: Sequence[str]
) -> Found:  # fmt: skip
    settings = arguments(cfg.optimise)
    chosen = TextSettings(**settings | {"levels": tuple(settings["levels"])})
    optimiser = TextOptimiser(generator, clip, chosen, preserved_of(cfg.preserve, generator, "preserve", [said.text]))
    begun = time.monotonic()
    edited = optimiser.edit(latent, [said.text], said.neutral, names, progress=True)
    spent = time.monotonic() - begun
    return Found(said, edited.before, edited.at, edited.edit(), {}, inference=spent)


def _by_direction(
    cfg: DictConfig, said: Said, generator: Generator, clip: ClipModel, latent: Latent, names: Sequence[str]
) -> Found:  # fmt: skip
    begun = time.monotonic()
    relevance = relevance_of(generator, clip, cfg.directions and resolve(cfg.directions), progress=True)
    measured = time.monotonic()
    prepared = _measuring_seconds(resolve(cfg.directions)) if cfg.directions else measured - begun
    channels = CHANNELS if cfg.beta is None and cfg.channels is None else cfg.channels
    if cfg.channels is None and channels is not None:
        channels = min(channels, relevance.channels)
    found = global_direction(
        relevance, text_direction(clip, said.text, said.neutral), cfg.alpha, cfg.beta, channels, said.text
    )
    before, chosen = in_space(generator, latent, "s"), time.monotonic()
    found.edit.apply(before.to("cpu"), 1.0)
    spent = time.monotonic() - chosen
    figures = {"channels": float(found.channels), "beta": found.beta, "strongest": found.strongest}
    return Found(said, before, lambda strength: found.edit.apply(before, strength), found.edit, figures, True,
                 prepared, chosen - measured, spent)  # fmt: skip


def _measuring_seconds(path: Path) -> float:
    """How long it took to measure a bundle of relevance, as it says; not a number where it does not."""
    said = (read_manifest(path).get("metrics") or {}).get("seconds")
    return float(said) if isinstance(said, int | float) else math.nan
