"""What the original recipe needs, by formula: memory of its feature stack, multiply-accumulates of its classifiers."""

from __future__ import annotations

from benchmarks.original_recipe import MEMBERS, hidden_widths

GB = 1e9


def feature_width(resolution: int, channel_base: int = 32768, channel_max: int = 512) -> int:
    """D: channels of all StyleGAN2 maps of a generator together, two maps a resolution.

    Example:
        >>> [feature_width(r) for r in (256, 512, 1024)]
        [5888, 6016, 6080]
    """
    levels = range(2, resolution.bit_length())
    return sum(2 * min(channel_base >> level, channel_max) for level in levels)


def stack_gb(width: int, size: int, bytes_a_value: int = 4) -> float:
    """One image's concatenated features at the output's size, ``H W D bytes``, in 1e9 bytes.

    Example:
        >>> round(stack_gb(6016, 512), 2), round(stack_gb(6016, 512, 2), 2)
        (6.31, 3.15)
    """
    return size * size * width * bytes_a_value / GB


def store_gb(width: int, size: int, images: int) -> float:
    """The half-precision store of all images and its single-precision copy, which the original holds at once.

    Example:
        >>> round(store_gb(6016, 512, 16)), round(store_gb(6080, 1024, 16))
        (151, 612)
    """
    return images * (stack_gb(width, size, 2) + stack_gb(width, size, 4))


def ensemble_macs(width: int, size: int, num_classes: int, members: int = MEMBERS) -> int:
    """Multiply-accumulates of the classifiers over one image.

    Example:
        >>> round(ensemble_macs(6016, 512, 32, members=1) / 1e9)
        413
    """
    wide, narrow = hidden_widths(num_classes)
    return members * size * size * (width * wide + wide * narrow + narrow * num_classes)
