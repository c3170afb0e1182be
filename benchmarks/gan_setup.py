"""One configuration of StyleGAN2's training, as each arm of the comparison writes it.

It is what ``train.py --cfg auto --gpus 1 --batch 16`` of stylegan2-ada-pytorch makes of 64x64 images, without
augmentation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

Step = tuple[bool, bool]  # whether a batch has a path length step, and an R1 step


@dataclass(frozen=True)
class Setup:
    """Sizes, rates and intervals, the same for every arm."""

    device: str = "cpu"            # cpu or cuda
    threads: int | None = None     # torch's; None: torch decides
    resolution: int = 64           # pixels a side
    batch: int = 16                # images in a batch
    channel_base: int = 16384      # the official fmaps=0.5
    channel_max: int = 512         # largest number of channels
    mapping_layers: int = 2        # the official map=2
    lr: float = 2.5e-3             # Adam's rate
    images: int = 256              # rendered avatars that the batches are drawn from
    r1_interval: int = 16          # batches between R1 steps
    path_interval: int = 4         # batches between path length steps
    lap: int = 16                  # batches that are timed in one go; holds every kind of batch
    repeats: int = 3               # laps of each arm

    @property
    def r1_gamma(self) -> float:
        """The official rule: 0.0002 times the number of pixels by the batch."""
        return 0.0002 * self.resolution**2 / self.batch

    @property
    def ema_halflife(self) -> float:
        """The official rule, in images: ten thousand for a batch of 32."""
        return self.batch * 10_000 / 32

    def quick(self) -> Setup:
        """Small batches and short laps; the cycle is made up from the times of its kinds of batch."""
        return replace(self, batch=4, r1_interval=4, path_interval=2, lap=4, repeats=1)

    def kind(self, batch: int) -> Step:
        """What batch number ``batch`` of a run holds beside the main step."""
        return batch % self.path_interval == 0, batch % self.r1_interval == 0


def cycle_kinds(paths: bool, r1_interval: int = 16, path_interval: int = 4) -> dict[Step, int]:
    """How many batches of each kind one cycle of the lazy regularisers holds.

    Example:
        >>> cycle_kinds(paths=True)
        {(True, True): 1, (False, False): 12, (True, False): 3}
        >>> cycle_kinds(paths=False)
        {(False, True): 1, (False, False): 15}
    """
    counts: dict[Step, int] = {}
    for batch in range(math.lcm(r1_interval, path_interval)):
        kind = (paths and batch % path_interval == 0, batch % r1_interval == 0)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def official_arguments(setup: Setup) -> dict[str, Any]:
    """Constructor arguments of the official networks; half precision on a GPU only, as it has kernels for it."""
    half = {"num_fp16_res": 4, "conv_clamp": 256} if setup.device == "cuda" else {}
    width = {"channel_base": setup.channel_base, "channel_max": setup.channel_max, **half}
    shape = {"c_dim": 0, "img_resolution": setup.resolution, "img_channels": 3}
    return {
        "generator": {
            "z_dim": 512, "w_dim": 512, **shape, "mapping_kwargs": {"num_layers": setup.mapping_layers},
            "synthesis_kwargs": width,
        },
        "discriminator": {**shape, **width, "epilogue_kwargs": {"mbstd_group_size": 4}},
    }  # fmt: skip


def identical_words(setup: Setup) -> list[str]:
    """The same configuration in the words of ``ganvas train``."""
    words = [
        "task=stylegan2", f"task.generator.mapping_layers={setup.mapping_layers}",
        # On a CPU a strided convolution's gradient for its weights takes twice as long in that layout.
        f"task.generator.channels_last={str(setup.device == 'cuda').lower()}", "task.discriminator.mbstd_group_size=4",
        f"task.training.lr_g={setup.lr}", f"task.training.lr_d={setup.lr}", "task.training.final_lr=1.0",
        f"task.training.r1_gamma={setup.r1_gamma}", "task.training.path_weight=2", "task.training.style_mixing=0.9",
        f"task.training.ema_halflife={setup.ema_halflife}", "task.training.ema_rampup=0.05",
    ]  # fmt: skip
    for network in ("generator", "discriminator"):
        words.append(f"task.{network}.channel_base={setup.channel_base}")
        words.append(f"task.{network}.channel_max={setup.channel_max}")
        if setup.device == "cuda":
            words += [f"task.{network}.num_fp16_res=4", f"task.{network}.half_dtype=bfloat16",
                      f"task.{network}.conv_clamp=256"]  # fmt: skip
    if setup.device == "cuda":
        words.append("task.training.compile=true")
    return [*words, *_common_words(setup)]


def lean_words(setup: Setup) -> list[str]:
    """The preset for small compute: lean networks, encoder and game of codes."""
    return ["experiment=stylegan2/avatars64", *_common_words(setup)]


def _common_words(setup: Setup) -> list[str]:
    return [
        "data=avatars", f"data.resolution={setup.resolution}", f"data.count={setup.images}", "wandb=disabled",
        f"trainer={'gpu' if setup.device == 'cuda' else 'cpu'}", f"trainer.threads={setup.threads or 'null'}",
        f"task.batch_size={setup.batch}", f"task.training.r1_interval={setup.r1_interval}",
        f"task.training.path_interval={setup.path_interval}",
    ]  # fmt: skip
