"""``ganvas train``: opens the run's record and hands over to the task's training function."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from omegaconf import DictConfig

from launch.errors import Interrupted, is_disk_full, is_out_of_memory, was_raised
from launch.failures import disk_full, diverged, out_of_memory
from launch.follower import follow, is_follower
from launch.hardware import check_devices, use_threads
from launch.limits import require_at_least, require_one_device
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError
from trainers.diverged import DivergedError

SHARED = ("blobgan", "sngan", "stylegan2")  # tasks that several devices can do together


def run(cfg: DictConfig) -> None:
    """Train ``cfg.task`` by ``launch/train_<name>.py``: ``train(cfg, record) -> figures with their protocols``.

    Raises:
        GanvasError: if something given cannot be used, training diverges, or memory or the disk is full. A run that
            fails before its first checkpoint leaves nothing, so that ``out=`` is free for the corrected command.
        Interrupted: on Ctrl-C or SIGTERM, saying how to resume.
    """
    check_devices(cfg.trainer)
    require_at_least(cfg, {"seed": 0})
    use_threads(cfg.trainer)
    if find_spec(f"launch.train_{cfg.task.name}") is None:
        raise GanvasError(f"there is no task `{cfg.task.name}`: choose one with task= or experiment=.")
    if cfg.n is not None and cfg.data.get("kind") == "folder":
        raise GanvasError(f"n={cfg.n} counts held-out images, and data=folder has none: leave n= out.")
    if cfg.task.name not in SHARED:
        require_one_device(cfg)
    task = import_module(f"launch.train_{cfg.task.name}")
    if is_follower(cfg):
        with follow(cfg) as following:
            task.train(cfg, following)
        return
    record = RunRecord.open(cfg)
    try:
        record.finish(task.train(cfg, record))
    except (KeyboardInterrupt, SystemExit) as stop:
        if was_raised(stop, KeyboardInterrupt):
            raise Interrupted(f"stopped; `{record.resume_command}` resumes it.") from stop
        record.withdraw()
        raise
    except Exception as error:
        sentence = _sentence(cfg, record, error)
        record.withdraw()
        if sentence is None:
            raise
        raise GanvasError(sentence) from error
    finally:
        record.close()


def _sentence(cfg: DictConfig, record: RunRecord, error: Exception) -> str | None:
    """What to say of a failure that depends on the run; None for one that speaks for itself."""
    if isinstance(error, DivergedError):
        return diverged(cfg, record, error)
    if is_disk_full(error):
        return disk_full(record, error)
    return out_of_memory(cfg, record) if is_out_of_memory(error) else None
