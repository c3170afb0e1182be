"""The levels of StyleGAN2's layers, coarse, medium and fine, and strengths of an edit by level or by row.

StyleCLIP (Patashnik et al. 2021, arXiv 2103.17249, section 5) gives each level a mapper of its own: rows 0-3, 4-7 and
8-17 of W+ at 1024x1024, two resolutions each and the rest. Here the split follows from the number of rows, so that
small generators have three levels too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

LEVELS = ("coarse", "medium", "fine")
# One for all; in W+ one for each row, [num_ws]; in W+ and S one for each level, by its name.
Strength = float | Tensor | Mapping[str, float]


def level_rows(num_ws: int) -> dict[str, range]:
    """The rows of W+ that each level has: two resolutions for coarse, two for medium, the rest is fine.

    Below 64x64, where that would leave nothing, the resolutions are shared out evenly.

    Raises:
        ValueError: if no generator has so many rows.

    Example:
        >>> level_rows(18)
        {'coarse': range(0, 4), 'medium': range(4, 8), 'fine': range(8, 18)}
        >>> level_rows(6)
        {'coarse': range(0, 2), 'medium': range(2, 4), 'fine': range(4, 6)}
    """
    if num_ws < 6 or num_ws % 2:
        raise ValueError(f"levels are those of an even number of rows from 6, got {num_ws}")
    blocks = num_ws // 2
    coarse = min(2, math.ceil(blocks / 3))
    medium = min(2, math.ceil((blocks - coarse) / 2))
    ends = (0, 2 * coarse, 2 * (coarse + medium), num_ws)
    return {name: range(ends[i], ends[i + 1]) for i, name in enumerate(LEVELS)}


def style_levels(paths: Iterable[str]) -> dict[str, str]:
    """The level of each affine path of S: that of the row of W+ that its style comes from.

    Args:
        paths: all paths of one generator, e.g. ``b4.conv1``.

    Raises:
        ValueError: if a path is none of StyleGAN2's.

    Example:
        >>> found = style_levels(f"b{r}.{layer}" for r in (4, 8, 16, 32, 64) for layer in ("conv0", "conv1", "torgb"))
        >>> found["b16.conv0"], found["b16.conv1"], found["b64.torgb"]
        ('coarse', 'medium', 'fine')
    """
    rows = {path: _row(path) for path in paths}
    num_ws = 2 * (max(rows.values()) // 2 + 1)
    levels = {row: name for name, members in level_rows(num_ws).items() for row in members}
    return {path: levels[row] for path, row in rows.items()}


def _row(path: str) -> int:
    """The row of ``ws`` behind a path: conv0, conv1 and ToRGB of a block have neighbouring ones."""
    block, _, layer = path.partition(".")
    size = block.removeprefix("b")
    if not size.isdecimal() or layer not in ("conv0", "conv1", "torgb"):
        raise ValueError(f"{path} is no style of StyleGAN2")
    return 2 * (int(size).bit_length() - 3) + {"conv0": -1, "conv1": 0, "torgb": 1}[layer]


def number(strength: Strength) -> float:
    """A strength as one number, for edits that have neither rows nor levels.

    Raises:
        ValueError: if it is more than one, or not finite.
    """
    if isinstance(strength, Mapping) or (isinstance(strength, Tensor) and strength.ndim):
        raise ValueError("this edit has neither rows nor levels: its strength is one number")
    if not math.isfinite(strength):
        raise ValueError(f"a strength must be a finite number, got {float(strength)}")
    return float(strength)


def factors(strength: Strength, codes: Mapping[str, Tensor], space: str) -> dict[str, Tensor | float]:
    """What a step of each of the ``codes`` is multiplied by; it broadcasts against ``[..., rows, width]``.

    Args:
        strength: see :data:`Strength`.
        codes: a latent's tensors or a step's, without noise maps; in S all of a generator's.
        space: which they are in.

    Raises:
        ValueError: if the strength does not fit the space, or is not finite.
    """
    if isinstance(strength, Mapping):
        return _by_level(strength, codes, space)
    if isinstance(strength, Tensor) and strength.ndim:
        if not torch.isfinite(strength).all():
            raise ValueError("a strength must be finite, and one of the rows' is not")
        rows = codes["ws"].shape[-2] if space == "w+" else 0
        if not rows or strength.shape != (rows,):
            raise ValueError(f"strengths are one for all or one for each row of W+, [{rows}], got "
                             f"{list(strength.shape)}")  # fmt: skip
        return {"ws": strength[:, None]}
    return dict.fromkeys(codes, number(strength))


def _by_level(strength: Mapping[str, float], codes: Mapping[str, Tensor], space: str) -> dict[str, Tensor | float]:
    if set(strength) != set(LEVELS):
        raise ValueError(f"strengths by level are one each for {', '.join(LEVELS)}, got {', '.join(strength)}")
    strength = {name: number(value) for name, value in strength.items()}
    if space == "w+":
        rows = level_rows(codes["ws"].shape[-2])
        return {"ws": torch.tensor([strength[name] for name, members in rows.items() for _ in members])[:, None]}
    if space == "s":
        return {path: strength[level] for path, level in style_levels(codes).items()}
    raise ValueError(f"there are levels in w+ and s, and this edit is in {space}")
