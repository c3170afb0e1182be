"""The codes that mappers learn on, which of them are held out, and what is remembered of their images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from datamodules.latents import Sources, Split
from datamodules.source_cache import keep
from editors.inversion_cache import InversionCache
from editors.invert import invert
from launch.figures import Protocol, Source
from launch.invert import inversion_settings, read_images
from networks.checkpoints.atomic import atomic_path
from networks.checkpoints.bundle import tensors_hash
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.latent_files import read_codes
from networks.checkpoints.latents import save_latent
from networks.latent import Latent, item_rng
from networks.mapper import in_space, space_of
from networks.mapper.sources import remembered
from networks.protocol import Generator
from trainers.mapper import Judges

SPLIT, HELDOUT = "split.json", "heldout.safetensors"  # in a run's directory
HELDOUT_SEED = 1_000_003   # of samples that no training sees, the same for every seed of a run
ALGORITHM = 2              # raised when the same codes and networks are remembered otherwise


@dataclass(frozen=True)
class Codes:
    """Codes in the space of a mapper, and how they are divided."""

    latent: Latent       # of both parts
    split: Split
    source: Source       # of those that are held out
    training: Source     # of those that are learned on

    @property
    def train(self) -> Latent:
        """Those that are learned on."""
        return self.latent[list(self.split.train)]

    @property
    def heldout(self) -> Latent:
        """Those that figures are measured on."""
        return self.latent[list(self.split.heldout)]

    def protocol(self, network: str, generator: str, how: str = "") -> Protocol:
        """That of figures on the held-out codes."""
        return Protocol(*self.source, len(self.split.heldout), network, generator, how)


def codes_of(cfg: DictConfig, generator: Generator) -> Codes:
    """The codes that ``latents=``, ``images=`` or ``task.sources`` stand for.

    Raises:
        GanvasError: if two of them say which, or they cannot be used.
    """
    if cfg.latents and cfg.images:
        raise GanvasError("latents= and images= both say what to learn on: leave one of them out.")
    options, space = cfg.task.sources, space_of(generator, cfg.task.network.kind)
    count = options.heldout if cfg.n is None else cfg.n
    if cfg.latents:
        latent, _ = read_codes(cfg.latents, generator)
        split, sources = Split.of(len(latent), count, cfg.seed), _of_files(f"codes of {cfg.latents}", cfg.seed)
    elif cfg.images:
        images, windows, names = read_images(Path(cfg.images), generator)
        settings = inversion_settings(cfg.task.inversion)
        latent = invert(generator, images, settings, cache=InversionCache(), names=names, progress=True,
                        windows=windows).latent  # fmt: skip
        split, sources = Split.of(len(latent), count, cfg.seed), _of_files(f"images of {cfg.images}", cfg.seed)
    else:
        latent, split, sources = _sampled(cfg, generator, count)
    # Every image is drawn with the generator's own noise, so that nothing but the codes tells two of them apart.
    return Codes(in_space(generator, replace(latent, noise_seed=None).to(generator.device), space), split, *sources)


def _of_files(what: str, seed: int) -> tuple[Source, Source]:
    """Of what is held out, and of the rest."""
    held_out = f"held out at random, seed {seed}"
    return Source(what, held_out), Source(what, f"but those {held_out}")


def _sampled(cfg: DictConfig, generator: Generator, heldout: int) -> tuple[Latent, Split, tuple[Source, Source]]:
    options = cfg.task.sources
    if options.space not in ("w", "w+"):
        raise GanvasError(f"task.sources.space={options.space} must be w, or w+, which joins two codes.")
    parts = [
        generator.sample(n, seed, truncation=options.truncation)
        for n, seed in ((options.count, cfg.seed), (heldout, HELDOUT_SEED))
    ]
    if options.space == "w+":
        parts = [mixed(part, seed) for part, seed in zip(parts, (cfg.seed, HELDOUT_SEED), strict=True)]
    rule = f"training from seed {cfg.seed}, held out from seed {HELDOUT_SEED}"
    what = f"sampled codes in {options.space}, truncation {options.truncation:g}"
    split = Split.in_turn(options.count + heldout, heldout, rule)
    return Latent.cat(parts), split, (Source(what, f"seed {HELDOUT_SEED}"), Source(what, f"seed {cfg.seed}"))


def mixed(latent: Latent, seed: int) -> Latent:
    """Each code with the next one's rows from a random row on; which row depends only on ``(seed, item)``.

    Raises:
        GanvasError: if the codes have no rows.
    """
    if latent.space != "w+":
        raise GanvasError("task.sources.space=w+ joins rows of codes, and this generator's have none: use w.")
    ws = latent.tensors["ws"]
    rows = torch.arange(ws.shape[1])
    cuts = torch.stack([torch.randint(1, ws.shape[1], (1,), generator=item_rng(seed, i)) for i in range(len(ws))])
    return latent.replace(ws=torch.where((rows < cuts)[..., None].to(ws.device), ws, ws.roll(-1, dims=0)))


def sources_of(cfg: DictConfig, codes: Codes, judges: Judges) -> Sources:
    """The codes that are learned on, with what is remembered of their images."""
    latent, options = codes.train, cfg.task.sources
    parts = partial(_parts, cfg, latent, judges)
    kept = keep(parts, len(latent), round(options.memory * 1e9), _key(cfg, latent, judges))
    return Sources({name: x.cpu() for name, x in latent.tensors.items()}, kept)


def _parts(cfg: DictConfig, latent: Latent, judges: Judges) -> Iterator[dict[str, Tensor]]:
    up_to, batch = cfg.task.training.up_to, cfg.task.sources.batch
    return remembered(judges.generator, latent, judges.mix, judges.preserved, up_to, batch)


def _key(cfg: DictConfig, latent: Latent, judges: Judges) -> str:
    """Names what is remembered by all that it depends on."""
    parts = [
        ALGORITHM, judges.generator.hash, tensors_hash(latent.tensors), cfg.task.training.up_to,
        [model.to_json() for model in judges.mix.identities], tensors_hash(judges.preserved.state_dict()),
        OmegaConf.to_container(cfg.task.preserve),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def record_split(folder: Path, codes: Codes) -> None:
    """Write which codes were held out, and these themselves, so that others measure on the same.

    Raises:
        GanvasError: if a file cannot be written.
    """
    with atomic_path(folder / SPLIT) as temporary:
        temporary.write_text(json.dumps(codes.split.to_json()) + "\n")
    save_latent(folder / HELDOUT, codes.heldout.to("cpu"))
