"""The jobs of a sweep handed to one of Hydra's launchers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from launch.compose import quoted
from launch.paths import CONF
from launch.sweep_job import run_job
from networks.checkpoints.errors import GanvasError


def check_launcher(cfg: DictConfig) -> None:
    """Refuse a launcher that cannot run here.

    Raises:
        GanvasError: naming what is missing.
    """
    if "partition" in cfg.launcher and shutil.which("sbatch") is None:
        raise GanvasError("launcher=submitit_slurm needs SLURM, and there is no `sbatch` on this machine: run the "
                          "command where jobs are submitted, or use launcher=joblib.")  # fmt: skip


def launch(cfg: DictConfig, folder: Path, names: Sequence[str]) -> None:
    """Run the jobs of these names by the launcher of ``cfg``, through Hydra's plugin interface.

    Each is a Hydra job of the sweep's own configuration with the name of the one to run; what that means is read from
    the sweep's folder, where it runs.
    """
    own = [word for word in cfg.own if word.partition("=")[0].partition(".")[0] == "launcher"]
    words = [*own, f"out={quoted(str(folder))}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("sweep", words, run_mode=RunMode.MULTIRUN)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
            task_function=run_job, config=config,
        )  # fmt: skip
        try:
            results = launcher.launch([[*words, f"job={quoted(name)}"] for name in names], initial_job_idx=0)
        except Exception as error:  # whatever a launcher raises: a worker or a node was lost
            said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            sentence = f"the launcher gave up ({said}); what is done is kept, and the same command goes on."
            raise GanvasError(sentence) from error
    for result in results:
        # Its public name would write a page to stderr. A job's own failure is not among these: it is written down.
        if isinstance(result._return_value, Exception):
            raise result._return_value
