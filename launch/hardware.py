"""The ``trainer`` group as Lightning understands it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from networks.checkpoints.errors import GanvasError


def trainer_arguments(settings: DictConfig) -> dict[str, Any]:
    """Arguments of ``pytorch_lightning.Trainer`` that say on which devices it runs, and how.

    Args:
        settings: ``cfg.trainer``.
    """
    arguments = OmegaConf.to_container(settings)
    arguments.pop("threads")  # not Lightning's: see use_threads
    return arguments


def use_threads(settings: DictConfig) -> None:
    """Let torch use as many CPU threads as ``cfg.trainer`` says."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def check_devices(settings: DictConfig) -> None:
    """Refuse devices that are not there.

    Raises:
        GanvasError: naming what to change.
    """
    on_gpu = settings.accelerator in ("gpu", "cuda")
    if on_gpu and not torch.cuda.is_available():
        raise GanvasError(f"trainer.accelerator={settings.accelerator} but torch sees no GPU here: use trainer=cpu.")
    if settings.devices < 1 and not (settings.devices == -1 and device_of(settings).type == "cuda"):
        raise GanvasError(f"trainer.devices={settings.devices} must be at least 1, or on GPUs -1 for all of them.")
    if on_gpu and settings.devices > (there := torch.cuda.device_count()):
        raise GanvasError(f"trainer.devices={settings.devices} but torch sees {there} here: use -1 for all of them.")
    if settings.num_nodes != 1 and not {"RANK", "SLURM_PROCID"} & {*os.environ}:
        raise GanvasError(f"trainer.num_nodes={settings.num_nodes} needs a launcher that starts each process, such as "
                          "torchrun or SLURM: use it, or leave num_nodes out.")  # fmt: skip


def require_device(device: str) -> None:
    """Refuse ``device=cuda`` on a machine without a GPU.

    Raises:
        GanvasError: naming what to change.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise GanvasError(f"device={device} but torch sees no GPU here: use device=cpu.")


def machine(device: torch.device | str) -> str:
    """What work on ``device`` ran on, in words, as it stands beside figures."""
    threads = torch.get_num_threads()
    words = [cpu_name(), f"{os.cpu_count()} cores", f"{threads} thread{'s' if threads > 1 else ''}"]
    if torch.device(device).type == "cuda":
        words.append(torch.cuda.get_device_name(device))
    return ", ".join(words)


def cpu_name() -> str:
    """The processor's name, as far as the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def device_count(settings: DictConfig) -> int:
    """How many devices ``cfg.trainer`` means, on all machines together."""
    here = settings.devices
    if here == -1:
        here = torch.cuda.device_count() if device_of(settings).type == "cuda" else 1
    return here * settings.num_nodes


def device_of(settings: DictConfig) -> torch.device:
    """Where work outside Lightning belongs, such as inversion and scoring: the first of the trainer's devices."""
    gpu = settings.accelerator in ("gpu", "cuda") or (settings.accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if gpu else "cpu")
