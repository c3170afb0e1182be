"""Text arrives as typed, wrong keys are refused, and the configuration is closed."""

from __future__ import annotations

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError

from launch.compose import compose, known_keys, quoted, text_keys
from launch.schemas import ELSEWHERE
from networks.checkpoints.errors import GanvasError

SAMPLE = ["generator=g", "out=o"]
AWKWARD = ["a,b", "[a]", "it's", '"q"', "a = b", "${oc.env:HOME}", "\\", "x\\'y", "{a:1}", "a b ", "\\${x}", "$x"]


@pytest.mark.parametrize("value", [*AWKWARD, "", "true", "1", "~", "ünï/cödé"])
def test_text_is_taken_verbatim(value: str) -> None:
    assert compose("sample", ["generator=g", f"out={value}"]).out == value


@settings(deadline=None)
@given(st.text(st.sampled_from("a ,'\"\\\\\\[]{}()=$$:#~?é"), max_size=12).filter(lambda text: text != "???"))
def test_any_text_survives_both_grammars(value: str) -> None:
    parsed = OverridesParser.create().parse_override(f"out={quoted(value)}").value()
    assert OmegaConf.create({"out": parsed}).out == value


@pytest.mark.parametrize(("listed", "texts"), [
    ("[a hat,καπέλο]", ["a hat", "καπέλο"]), ("[日 , a  hat]", ["日", "a  hat"]),
    ("['ü, x',\"é\",é's]", ["ü, x", "é", "é's"]),
    ("καπέλο", ["καπέλο"]),
])  # fmt: skip
def test_lists_hold_words_of_any_language(listed: str, texts: list[str]) -> None:
    assert compose("train", ["experiment=mapper/avatars", f"texts={listed}"]).task.texts == texts


def test_null_clears_text_that_may_be_absent() -> None:
    assert compose("doctor", ["wandb.entity=null"]).wandb.entity is None


def test_numbers_keep_their_type() -> None:
    cfg = compose("sample", [*SAMPLE, "n=3", "truncation=1", "debug=true"])
    assert (cfg.n, cfg.truncation, cfg.debug) == (3, 1.0, True)


def test_groups_choose_files_and_single_values_override_them() -> None:
    cfg = compose("doctor", ["wandb=online", "wandb.project=a,b"])
    assert (cfg.wandb.mode, cfg.wandb.project) == ("online", "a,b")


def test_the_command_is_kept() -> None:
    command = "ganvas sample 'out=${x}'"
    assert compose("sample", SAMPLE, command=command).command == command


def test_the_configuration_is_closed() -> None:
    cfg = compose("sample", SAMPLE)
    with pytest.raises(ReadonlyConfigError):
        cfg.n = 5
    assert OmegaConf.is_struct(cfg)
    assert "hydra" not in cfg


def test_text_keys_are_those_whose_type_is_text() -> None:
    keys = text_keys("train")
    assert {"generator", "images", "out", "wandb.project", "trainer.precision"} <= keys
    assert not {"seed", "experiment", "trainer.devices"} & keys
    assert "trainer.threads" in known_keys("train")


@pytest.mark.parametrize("word", ["+new=1", "~n", "++n=2", "n", "=3", "n@x=1"])
def test_only_key_value_is_understood(word: str) -> None:
    with pytest.raises(GanvasError, match="is not an option"):
        compose("sample", [*SAMPLE, word])


def test_null_where_a_value_is_needed() -> None:
    with pytest.raises(GanvasError, match="`seed=null` does not fit"):
        compose("sample", [*SAMPLE, "seed=null"])


FOLDER = ["experiment=stylegan2/folder", "images=photos"]


def test_a_short_key_sets_the_long_one() -> None:
    cfg = compose("train", [*FOLDER, "resolution=128"])
    assert cfg == compose("train", [*FOLDER, "data.resolution=128"])
    assert cfg.data.resolution == cfg.task.generator.img_resolution == cfg.task.encoder.img_resolution == 128
    assert compose("train", [*FOLDER, "resolution=128", "data.resolution=128"]).data.resolution == 128
    assert compose("train", FOLDER).data.resolution == 64


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["resolution=128", "data.resolution=64"], "resolution=128 and data.resolution=64 contradict one another"),
        (["data.resolution=64", "resolution=128"], "resolution=128 and data.resolution=64 contradict one another"),
        (["resolution=large"], "`data.resolution=large` does not fit"),
        (["resolutoin=64"], "has no option `resolutoin`; did you mean `resolution`"),
    ],
)
def test_a_short_key_is_refused_as_the_long_one_is(words: list[str], sentence: str) -> None:
    with pytest.raises(GanvasError) as error:
        compose("train", [*FOLDER, *words])
    assert sentence in str(error.value)


def test_a_group_is_never_null() -> None:
    with pytest.raises(GanvasError, match="`task/augment=null` chooses nothing; there are ada, diffaugment, none"):
        compose("train", [*FOLDER, "task/augment=null"])


@pytest.mark.parametrize("word", ["task.encoder={img_resolution: 32, w_dim: 128}", "task.encoder.img_resolution=32"])
def test_nothing_is_typed_into_a_group_that_is_null(word: str) -> None:
    with pytest.raises(GanvasError, match=rf"`{re.escape(word)}` is inside a group that is null here"):
        compose("train", ["experiment=blobgan/scenes32", "task.training.total_images=512", "wandb=disabled", word])


def test_steps_are_not_taken_for_images_and_the_refusal_names_the_option() -> None:
    for words in (["experiment=blobgan/rooms64"], FOLDER):
        with pytest.raises(GanvasError, match=r"no option `steps`: the length of a run is `task.training.total"):
            compose("train", [*words, "steps=100"])
    with pytest.raises(GanvasError, match="`ganvas sample` has no option `steps`"):
        compose("sample", [*SAMPLE, "steps=100"])


def test_what_stands_for_a_word_from_elsewhere_exists() -> None:
    for verb, words in ELSEWHERE.items():
        known = set(known_keys(verb))
        assert not known & words.keys()
        assert known >= {key for said in words.values() for key in re.findall("`(.+?)`", said)}


def test_other_verbs_have_no_short_key() -> None:
    with pytest.raises(GanvasError, match="`ganvas sample` has no option `resolution`"):
        compose("sample", [*SAMPLE, "resolution=64"])


@pytest.mark.parametrize("value", ["runs/a=1/b.safetensors", "tests[layers]/b.safetensors", "my {runs}/b.safetensors"])
def test_a_list_of_one_may_be_a_path_that_the_grammar_stumbles_over(value: str) -> None:
    assert compose("evaluate", [f"judge={value}"]).judge == [value]
    with pytest.raises(GanvasError, match="gives several values"):
        compose("evaluate", ["judge=a,b"])
    with pytest.raises(GanvasError, match="a list is written"):
        compose("evaluate", ["judge=[a,b"])
