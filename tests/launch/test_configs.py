"""Every shipped configuration composes, and every schema fits the constructor that it feeds."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf

from launch import configs
from launch.compose import GRIDS, choices_of, compose
from launch.hardware import trainer_arguments
from launch.options import default_of, marked, may_change, option, options
from launch.paths import CONF
from launch.schemas import VERBS, group_schemas, schemas

EXPERIMENTS = [name for name in choices_of("experiment") if not name.startswith(GRIDS)]
ALL_SCHEMAS = [*VERBS.values(), *schemas().values()]


def nested(schema: type) -> list[type]:
    """The schema and those inside it."""
    inner = [type(default_of(item)) for item in fields(schema) if is_dataclass(default_of(item))]
    return [schema, *(deep for found in inner for deep in nested(found))]


TARGETS = sorted(
    {deep for schema in ALL_SCHEMAS for deep in nested(schema) if getattr(deep, "_target_", "???") != "???"},
    key=lambda schema: schema.__name__,
)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_says_what_it_is(name: str) -> None:
    cfg = compose("train", [f"experiment={name}"])
    assert cfg.experiment == name
    assert (CONF.parent / "launch" / f"train_{cfg.task.name}.py").exists()
    assert configs.summary(CONF / "experiment" / f"{name}.yaml")


@pytest.mark.parametrize("group", [group for group in group_schemas("train") if choices_of(group.replace(".", "/"))])
def test_every_schema_of_a_group_has_its_file(group: str) -> None:
    assert set(group_schemas("train")[group]) <= set(choices_of(group.replace(".", "/")))


@pytest.mark.parametrize("schema", TARGETS, ids=lambda schema: schema.__name__)
def test_a_schema_offers_exactly_what_its_constructor_takes(schema: type) -> None:
    module, _, name = schema._target_.rpartition(".")
    signature = inspect.signature(getattr(import_module(module), name))
    own = {item.name: item for item in fields(schema)}
    runtime = own.pop("_target_").metadata.get("runtime", ())
    assert set(own) | set(runtime) == set(signature.parameters)
    assert not set(own) & set(runtime)


@pytest.mark.parametrize("schema", sorted({deep for schema in ALL_SCHEMAS for deep in nested(schema)}, key=str))
def test_every_option_says_what_it_means(schema: type) -> None:
    assert schema.__doc__
    assert all(item.metadata.get("doc") for _, item in options(schema))


@pytest.mark.parametrize("name", [name for name in choices_of("trainer") if name == "cpu"])
def test_trainer_settings_are_lightning_s_own(name: str) -> None:
    arguments = trainer_arguments(compose("train", ["task.name=x", f"trainer={name}"]).trainer)
    assert arguments.keys() <= inspect.signature(pl.Trainer.__init__).parameters.keys()
    trainer = pl.Trainer(**arguments, logger=False, enable_checkpointing=False)
    assert (trainer.num_devices, trainer.precision) == (1, "32-true")


def test_an_experiment_and_then_the_words_decide() -> None:
    cfg = compose("train", ["data=avatars", "task=stylegan2", "data.resolution=32", "trainer.threads=1", "seed=0"])
    assert (cfg.data.resolution, cfg.trainer.threads, cfg.seed) == (32, 1, 0)


def test_augmentation_can_be_left_out_of_an_experiment_that_has_one() -> None:
    assert "DiffAugment" in compose("train", ["experiment=stylegan2/folder"]).task.augment._target_
    assert compose("train", ["experiment=stylegan2/folder", "task/augment=none"]).task.augment is None


@dataclass
class Inner:
    """Options inside others."""

    batch: int = option(4, "images at once", memory=True)
    rate: float = option(0.1, "rate", diverged="lower")


@dataclass
class Outer:
    """Options."""

    inner: Inner = option(Inner, "inner")
    where: Inner = option(Inner, "where it runs", free=True)
    absent: Inner | None = option(None, "none of it")


def test_marks_are_found_by_key() -> None:
    cfg = OmegaConf.structured(Outer)
    assert marked(cfg, "memory") == {"inner.batch": True, "where.batch": True}
    assert marked(cfg, "diverged") == {"inner.rate": "lower", "where.rate": "lower"}
    assert marked(cfg, "free") == {"where": True}
    assert marked(None, "memory") == {}


def test_a_resumed_run_may_differ_in_what_is_marked_and_in_all_of_a_marked_group() -> None:
    cfg = OmegaConf.structured(Outer)
    assert may_change(cfg, "where.batch")
    assert not may_change(cfg, "inner.batch")
    assert not may_change(cfg, "whereabouts")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_a_run_learns_from_is_never_free(name: str) -> None:
    cfg = compose("train", [f"experiment={name}"])
    assert all(may_change(cfg, key) for key in ("out", "trainer.devices", "wandb.mode", "debug", "command"))
    assert not any(may_change(cfg, key) for key in ("seed", "data.resolution", "images", "task.training._target_"))


def test_listing_shows_each_experiment_once(capsys: pytest.CaptureFixture[str]) -> None:
    configs.run(compose("configs", []))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == choices_of("experiment")
    assert all("; needs " in line or "size=zoo: " in line for line in lines)
