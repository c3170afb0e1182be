"""``ganvas convert`` of latent mappers: StyleCLIP's ``.pt`` into a bundle, and such a bundle into a ``.pt``."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from networks.checkpoints.bundle import read_bundle, read_manifest
from networks.checkpoints.edits import KIND, edit_from_bundle, save_edit
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.foreign import is_foreign
from networks.checkpoints.generators import load_generator
from networks.checkpoints.styleclip import FORM, is_styleclip, read_styleclip, write_styleclip

MAPPER = "M"  # network= for one


def concerns(cfg: DictConfig, source: Path) -> bool:
    """Whether a mapper is to be converted: it is asked for, or the source holds one and nothing else is asked for."""
    if cfg.network is not None or not source.is_file():
        return cfg.network == MAPPER
    if is_foreign(source):
        return is_styleclip(source)
    return source.suffix == ".safetensors" and read_manifest(source)["kind"] == KIND


def convert(cfg: DictConfig, source: Path, out: Path) -> list[str]:
    """Convert the mapper; the lines that end the command.

    Raises:
        GanvasError: if the source holds no mapper, or the format of ``out`` cannot hold it.
    """
    generator = load_generator(cfg.generator) if cfg.generator else None
    if out.suffix == ".pt":
        bundle = read_bundle(source)
        return [*write_styleclip(out, edit_from_bundle(bundle), generator, bundle.manifest), f"written: {out}"]
    if out.suffix != ".safetensors":
        raise GanvasError(f"out={out} must end in .safetensors, a bundle, or in .pt, StyleCLIP's format, for a mapper.")
    edit, about = read_styleclip(source, generator)
    origin = {"file": source.name, "format": FORM, "network": MAPPER}
    save_edit(out, edit, {**about, "source": origin, "command": cfg.command, "licence": "that of the source"})
    unknown = [] if generator else ["its generator is unknown: give generator=FILE to name it in the bundle"]
    text = about.get("text", "unknown: give text= where the mapper is used")
    return [f"text: {text}", f"levels: {', '.join(about['levels'])}", *unknown, f"written: {out}"]
