"""``ganvas train``: opens the run's record and hands over to the task's training function."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from omegaconf import DictConfig

from launch.errors import Interrupted
from launch.hardware import check_devices, use_threads
from launch.record import RunRecord
from networks.checkpoints.errors import GanvasError


def run(cfg: DictConfig) -> None:
    """Train ``cfg.task`` by ``launch/train_<name>.py``: ``train(cfg, record) -> headline figures``.

    Raises:
        GanvasError: if something given cannot be used.
        Interrupted: on Ctrl-C, saying how to resume.
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
        if not _by_ctrl_c(stop):
            raise
        raise Interrupted(f"stopped; `{record.resume_command}` resumes it.") from stop
    finally:
        record.close()


def _by_ctrl_c(stop: BaseException) -> bool:
    # Lightning turns Ctrl-C into sys.exit(1) after its own tidying up; the interrupt is then the exit's context.
    return isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt)
