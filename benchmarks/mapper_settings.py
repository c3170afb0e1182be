"""How large a run of ``mapper.py`` is: the full one, the quick one, and what tests make of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.settings import ROOT


@dataclass(frozen=True)
class Settings:
    """Sizes and counts. The defaults are the full run; ``quick`` shrinks what takes time."""

    device: str = "cpu"                                        # cpu or cuda
    threads: int | None = None                                 # torch's; None: torch decides
    is_quick: bool = False                                     # stands in the record
    generator: Path = ROOT / "zoo" / "avatars64.safetensors"   # of what is measured on avatars

    large: int = 1024                 # pixels a side of the random generator
    channel_base: int = 32768         # its width: configuration F
    model: str = "ViT-B-32"           # open_clip's name of the random CLIP beside it
    batch: int = 2                    # of the original's step there, and of ours where memory is compared
    codes: int = 8                    # that the large one learns on, in turn
    turns: int = 2                    # rounds of the large one, a step each
    small_turns: int = 15             # rounds of the zoo's generator
    small_steps: int = 4              # steps of a round

    share: float = 1.0                # of the length of each training that is run; the rest is multiplied up
    probe: float = 0.5                # of the length of pre-training, to know its rate
    scored: int = 300                 # held-out codes that edits of those trainings are scored on; 0: they are not
    texts: int = 8                    # of experiment=mapper/bank
    runs: Path | None = None          # folder that those trainings are kept in and taken from; None: for this run alone
    words: tuple[str, ...] = ()       # further words of all trainings

    renders: int = 2                  # of the original's directions at the large size, one by one
    images: int = 4                   # that a channel of ours is moved in there, up and down
    dims: tuple[int, int] = (1, 3)    # of the CLIP that the gradient is taken of there; the rest is multiplied up
    small_renders: int = 64           # of the original's directions on avatars
    small_images: int = 100           # that channels are moved in there
    checked: int = 64                 # channels that are measured one at a time, too

    def quick(self) -> Settings:
        """At most five minutes on two cores: narrow at 512x512, one round, trainings of a few steps, few channels."""
        return replace(
            self, is_quick=True, large=512, channel_base=8192, model="ViT-S-32-alt", codes=4, turns=1, small_turns=3,
            share=0.005, probe=0.3, scored=0, texts=2, images=2, small_renders=16, small_images=16, checked=16,
            words=("n=16", "task.sources.count=64", "task.choose.codes=8"),
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """As plain values, without the paths of this machine."""
        return {k: v for k, v in asdict(self).items() if k != "runs" and not isinstance(v, Path)}
