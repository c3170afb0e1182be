"""``ganvas train``: opens the run's record and hands over to the task's training function."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from omegaconf import DictConfig

from launch.errors import Interrupted, is_out_of_memory, was_raised
from launch.hardware import check_devices, use_threads
from launch.record import RunRecord
from launch.schemas import marked, may_change
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Train ``cfg.task`` by ``launch/train_<name>.py``: ``train(cfg, record) -> headline figures``.

    Raises:
        GanvasError: if something given cannot be used.
        Interrupted: on Ctrl-C or SIGTERM, saying how to resume.
    """
    check_devices(cfg.trainer)
    use_threads(cfg.trainer)
    if find_spec(f"launch.train_{cfg.task.name}") is None:
        raise GanvasError(f"there is no task `{cfg.task.name}`: choose one with task= or experiment=.")
    task = import_module(f"launch.train_{cfg.task.name}")
    record = RunRecord.open(cfg)
    try:
        record.finish(task.train(cfg, record))
    except GanvasError:
        record.withdraw()
        raise
    except (KeyboardInterrupt, SystemExit) as stop:
        if not was_raised(stop, KeyboardInterrupt):
            raise
        raise Interrupted(f"stopped; `{record.resume_command}` resumes it.") from stop
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise GanvasError(_how_to_need_less(cfg, record)) from error
    finally:
        record.close()


def _how_to_need_less(cfg: DictConfig, record: RunRecord) -> str:
    """The sentence for a run that ran out of memory: what to lower, and what is kept."""
    keys = marked(cfg, "memory")
    now = [key for key in keys if may_change(cfg, key)]
    later = [key for key in keys if not may_change(cfg, key)]
    if now:
        also = f"; a new run may lower {' or '.join(later)} too" if later else ""
        return (f"out of memory: lower {' or '.join(now)} and run `{record.resume_command}` again, which goes on from "
                f"the last checkpoint{also}.")  # fmt: skip
    what = " or ".join(later) or "the size of the work"
    return f"out of memory: lower {what} in a new run; the last checkpoint stays in {record.path}."
