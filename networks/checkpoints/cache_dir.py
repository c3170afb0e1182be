"""Where things are kept that can be made again: one place for all rooms, the lowest of which owns the rule."""

from cuda_ops.cache_dir import cache_dir

__all__ = ["cache_dir"]
