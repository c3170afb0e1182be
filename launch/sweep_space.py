"""The space of a search: which options it varies, and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from networks.checkpoints.errors import GanvasError

if TYPE_CHECKING:
    import optuna

Parameter = Mapping[str, Any]  # ``launch.schemas_paper.ParameterConfig`` as plain data


def check_search(search: Mapping[str, Any]) -> None:
    """Refuse a search that cannot run.

    Raises:
        GanvasError: if Optuna is missing, or a parameter is neither a range nor a choice.
    """
    if find_spec("optuna") is None:
        raise GanvasError("sweeper=optuna needs a package that is not installed: `pip install 'ganvas[sweep]'`.")
    for key, parameter in search["space"].items():
        low, high = parameter["low"], parameter["high"]
        ranged = low is not None and high is not None and low < high and not (parameter["log"] and low <= 0)
        if bool(parameter["choices"]) == ranged:
            raise GanvasError(f"the search over {key} must have low below high (above 0 with log), or else choices.")
    if search["direction"] not in ("maximize", "minimize"):
        raise GanvasError(f"a search must maximize or minimize, not {search['direction']}.")


def example(parameter: Parameter) -> Any:
    """A value that an option of the space may have."""
    if parameter["choices"]:
        return parameter["choices"][0]
    return round(parameter["low"]) if parameter["whole"] else parameter["low"]


def drawn(trial: optuna.Trial, key: str, parameter: Parameter) -> Any:
    """The trial's value of an option: what was drawn before, where it goes on."""
    if parameter["choices"]:
        return trial.suggest_categorical(key, parameter["choices"])
    low, high, log = parameter["low"], parameter["high"], parameter["log"]
    if parameter["whole"]:
        return trial.suggest_int(key, round(low), round(high), log=log)
    return trial.suggest_float(key, low, high, log=log)
