"""What a training run that failed says: what happened, what to change, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from launch.options import marked, may_change
from launch.record import RunRecord
from trainers.diverged import DivergedError


def diverged(cfg: DictConfig, record: RunRecord, error: DivergedError) -> str:
    """The sentence for a loss or a weight that is no longer a number."""
    advice = [f"{change} {key}" for key, change in marked(cfg, "diverged").items() if record.uses.get(key) != 0]
    if error.images:
        advice.append("look at these images")
    mend = " or ".join(advice) or "change the recipe"
    if not record.begun:
        return f"{error}, before the first checkpoint: {mend}, and run the command again."
    return (f"{error}: {mend}, in a new out= since this one keeps its options; {record.checkpoints} holds the last "
            "good state.")  # fmt: skip


def out_of_memory(cfg: DictConfig, record: RunRecord) -> str:
    """The sentence for a run that ran out of memory."""
    helps = dict(_what_helps(cfg, record))
    now = [what for key, what in helps.items() if may_change(cfg, key)]
    later = [what for key, what in helps.items() if not may_change(cfg, key)]
    if not record.begun:
        return f"out of memory: lower {' or '.join(now + later) or 'the size of the work'} and run the command again."
    if now:
        also = f"; a new run may lower {' or '.join(later)} too" if later else ""
        return (f"out of memory: lower {' or '.join(now)} and run `{record.resume_command}` again, which goes on from "
                f"the last checkpoint{also}.")  # fmt: skip
    what = " or ".join(later) or "the size of the work"
    return f"out of memory: lower {what} in a new out=; the last checkpoint stays in {record.path}."


def disk_full(record: RunRecord, error: Exception) -> str:
    """The sentence for a run that found no room to write."""
    if not record.begun:
        return f"the disk is full ({error}): free some space and run the command again."
    return (f"the disk is full ({error}): free some space and run `{record.resume_command}`, which goes on from the "
            "last checkpoint.")  # fmt: skip


def _what_helps(cfg: DictConfig, record: RunRecord) -> Iterator[tuple[str, str]]:
    """The options that save memory where the run stands, each with what to say of it."""
    for key in marked(cfg, "memory"):
        value = OmegaConf.select(cfg, key)
        used = record.uses.get(key, value)
        if not isinstance(value, int):
            yield key, key
        elif min(value, used) > 1:
            yield key, f"{key} below {used}" if used < value else key
