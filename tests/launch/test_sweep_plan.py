"""Which jobs a sweep has: from a paper's file, from the command line, and what is refused before any of them runs."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from launch import configs
from launch.compose import GRIDS, choices_of, compose
from launch.figures import Protocol
from launch.paths import CONF
from launch.schemas_paper import SIZES, PaperConfig, PublishedProtocolConfig
from launch.sweep_plan import Plan, plan
from networks.checkpoints.errors import GanvasError

PAPERS = [name for name in choices_of("experiment") if name.startswith(GRIDS)]
LABELS = "experiment=paper/editgan_labels"


def planned(*words: str) -> Plan:
    return plan(compose("sweep", words))


@functools.cache
def grid(name: str, size: str) -> Plan:
    """A paper's grid with one seed, and something for whatever the size asks for."""
    asks = compose("sweep", [f"experiment={name}"]).paper.sizes[size].asks
    return planned(f"experiment={name}", f"size={size}", "seeds=1", *(f"{key}=x" for key in asks))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAPERS)
def test_every_size_of_every_paper_composes(name: str, size: str) -> None:
    found = grid(name, size)
    assert found.jobs
    assert len({job.name for job in found.jobs}) == len(found.jobs)
    assert all(Path(job.name).name == job.name for job in found.jobs)


@pytest.mark.parametrize("name", PAPERS)
def test_the_real_thing_differs_by_data_and_networks_alone(name: str) -> None:
    """`full` changes of `zoo` where images and generators come from, how long networks train and codes are sought."""
    zoo, full = ({job.name: dict(word.split("=", 1) for word in job.words) for job in grid(name, size).jobs}
                 for size in ("zoo", "full"))  # fmt: skip
    assert zoo.keys() == full.keys()
    allowed = ("data", "images", "masks", "classes", "latents", "generator", "experiment", "trainer", "n", "wandb",
               "recipe", "table", "segmentation", "judge", "classifier", "identity", "metrics_features", "clip",
               "clip_judge")
    networks = ("task.generator.", "task.discriminator.", "task.metrics", "task.checkpoint", "task.training.total",
                "task.least_steps", "task.epochs", "task.heldout", "task.drawn", "inversion.st",
                "preserve.identity_network")
    for job, words in full.items():
        changed = {key for key, value in (zoo[job].items() ^ words.items())}
        assert all(key.split(".")[0] in allowed or key.startswith(networks) for key in changed), (job, changed)


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_s_file_says_what_a_table_needs(name: str) -> None:
    paper = compose("sweep", [f"experiment={name}"]).paper
    assert OmegaConf.get_type(paper) is PaperConfig
    assert tuple(paper.sizes) == SIZES
    assert paper.question.endswith("?")
    values = {axis: {*map(str, found["values"]), *found.bundles} for axis, found in paper.axes.items()}
    for row in paper.published:
        assert all(value in values[axis] for axis, value in row.at.items())
        assert set(row.figures) <= set(paper.figures)
        assert set(row.deviations) <= set(row.figures)
        assert row.source
        assert row.protocol.data
    assert {"how", *PublishedProtocolConfig.__dataclass_fields__} < {*Protocol.__dataclass_fields__}


def test_a_job_is_a_command_of_its_own() -> None:
    found = planned(LABELS, "seeds=2", "out=a/b")
    assert [job.name for job in found.jobs] == [
        "labels=1,head=linear,seed=0", "labels=1,head=linear,seed=1",
        "labels=2,head=linear,seed=0", "labels=2,head=linear,seed=1",
    ]  # fmt: skip
    words = found.jobs[1].words
    assert {"experiment=segmentation/avatars16", "task/head=linear", "task.labels=1", "n=4"} < set(words)
    assert {"seed=1", "task.label_seed=1", "wandb.group=b"} < set(words)
    assert found.jobs[1].at == {"labels": "1", "head": "linear"}


def test_a_value_may_be_a_bundle_of_words_and_the_last_word_counts() -> None:
    jobs = {job.name: job.words for job in planned(LABELS, "size=zoo", "seeds=1", "n=7").jobs}
    assert len(jobs) == 18
    words = jobs["labels=32,head=reference,seed=0"]
    assert "experiment=segmentation/original" in words
    assert sum(word.startswith("experiment=") for word in words) == 1
    assert "n=7" in words
    assert "n=100" not in words


def test_an_option_with_commas_is_an_axis_of_any_experiment() -> None:
    found = planned("experiment=segmentation/demo", "task.labels=4,8", "task/head=linear,default", "seeds=2")
    assert len(found.jobs) == 8
    assert found.jobs[0].name == "task.labels=4,task-head=linear,seed=0"
    assert "experiment=segmentation/demo" in found.jobs[0].words
    assert found.experiment is None


def test_commands_before_a_job_have_its_seed_and_what_the_command_gave() -> None:
    jobs = planned("experiment=paper/distill", "seeds=2").jobs
    branch = [job for job in jobs if job.at["teacher"] == "branch"]
    assert [list(job.before) for job in branch] == [["branch", "samples"]] * 2
    assert all(not job.before for job in jobs if job not in branch)
    assert {"train", "task.label_seed=1", "seed=1"} < set(branch[1].before["branch"])
    assert "segmentation={branch}/export/segmentation.safetensors" in branch[1].before["samples"]
    real = planned("experiment=paper/distill", "size=full", "generator=g.pkl", "images=a b", "masks=m").jobs[0]
    assert {"generator=g.pkl", "images=a b", "masks=m", "seed=0"} < set(real.before["branch"])


def test_text_with_commas_is_one_value_and_a_list_is_too() -> None:
    found = planned("experiment=segmentation/demo", "generator=a,b.safetensors", "task.curve=[1,2]")
    assert len(found.jobs) == 1
    assert {"generator=a,b.safetensors", "task.curve=[1,2]"} < set(found.jobs[0].words)


def test_the_settings_are_what_is_learnt_from() -> None:
    plain = planned(LABELS).settings
    assert planned(LABELS, "seeds=3", "trainer.threads=4", "wandb=offline", "out=elsewhere").settings == plain
    assert planned(LABELS, "n=5").settings != plain


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([LABELS, "seeds=0"], "seeds=0 leaves nothing to run"),
        ([LABELS, "size=huge"], "size=huge is none of quick, zoo, full"),
        ([LABELS, "size=full"], "size=full of paper/editgan_labels needs generator=…, images=…, masks=…"),
        ([LABELS, "seed=1,2"], "`seed=1,2`: seed is what seeds= counts; give seeds=N"),
        ([LABELS, "task.label=3"], "`ganvas train` has no option `task.label`"),
        ([LABELS, "task.labels=x,y"], "`task.labels=x` does not fit"),
        ([LABELS, "nonsense"], "`nonsense` is not an option"),
        (["experiment=segmentation/demo", "task.labels=1,1"], "`task.labels=1,1` names a value twice"),
        (["experiment=paper/nothing"], "there is no experiment `paper/nothing`"),
        ([LABELS, "launcher=hadoop"], "there is no launcher `hadoop`; known: basic, joblib, submitit_local, "),
        ([LABELS, "launcher.partition=gpu"], "`launcher.partition` is an option of launcher=submitit_slurm: "),
        ([LABELS, "launcher.speed=9"], "`ganvas sweep` has no option `launcher.speed`"),
        ([LABELS, "sweeper=optuna"], "needs an experiment that declares a search"),
        (["experiment=paper/stylegan2_discriminators", "sweeper=optuna", "seeds=2"], "a search has neither seeds= nor"),
        (["experiment=paper/stylegan2_discriminators", "sweeper=optuna", "sweeper.trials=0"], "must be at least 1"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(GanvasError) as refused:
        planned(*words)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration tree with one paper, which may be spoilt."""
    tree = tmp_path / "conf"
    tree.mkdir()
    for item in CONF.iterdir():
        if item.name != "experiment":
            (tree / item.name).symlink_to(item)
    (tree / "experiment" / "paper").mkdir(parents=True)
    (tree / "experiment" / "segmentation").symlink_to(CONF / "experiment" / "segmentation")
    text = (CONF / "experiment" / "paper" / "editgan_labels.yaml").read_text()
    (tree / "experiment" / "paper" / "own.yaml").write_text(text)
    monkeypatch.setattr("launch.compose.CONF", tree)
    return tree / "experiment" / "paper" / "own.yaml"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"figures: [mIoU": "figurse: [mIoU"}, "conf/experiment/paper/own.yaml is wrong: Key 'figurse' not in"),
        ({"    minutes: 0.5": "    hours: 0.5"}, "Key 'hours' not in 'SizeConfig'"),
        ({"    minutes: 0.5": "    minutes: soon"}, "Value 'soon' of type 'str' could not be converted to Float"),
        ({'labels: ["1", "2"]': 'labels: ["3"]'}, "the axis labels has no value 3; it has 1, 2, 4, 8, 16, 32"),
        ({"task/head=linear]": "task/head=round]"}, "there is no task/head `round`; known: default, linear, reference"),
        ({"    minutes: 0.5": "    before: {labels=1: {one: evaluate nothing=1}}"}, "has no option `nothing`"),
        ({"key: task.labels": "key: task.lables"}, "`ganvas train` has no option `task.lables`"),
        ({"linear: [task": "a b: []\n      a/b: [task", "[linear]": "[a b, a/b]"}, "two jobs of this grid would have"),
    ],
)
def test_a_mistake_in_a_paper_s_file_is_found_before_anything_runs(
    own_tree: Path, changes: dict[str, str], sentence: str
) -> None:
    text = own_tree.read_text()
    assert len(planned("experiment=paper/own").jobs) == 2
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    own_tree.write_text(text)
    with pytest.raises(GanvasError) as refused:
        planned("experiment=paper/own")
    assert sentence in str(refused.value)


def test_a_grid_is_no_run() -> None:
    with pytest.raises(GanvasError, match="is a paper's grid of runs: use `ganvas sweep experiment=paper/editgan_lab"):
        compose("train", [LABELS])


def test_a_missing_launcher_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text((CONF / "sweep.yaml").read_text().replace("launcher: basic", "launcher: own"))
    for item in CONF.iterdir():
        if item.name not in ("sweep.yaml", "launcher"):
            (tmp_path / item.name).symlink_to(item)
    (tmp_path / "launcher").mkdir()
    text = (CONF / "launcher" / "joblib.yaml").read_text().replace("hydra/launcher: joblib", "hydra/launcher: absent")
    (tmp_path / "launcher" / "own.yaml").write_text(text)
    monkeypatch.setattr("launch.compose.CONF", tmp_path)
    with pytest.raises(GanvasError, match="launcher=absent needs a package that is not installed: `pip install"):
        compose("sweep", [LABELS])


@pytest.mark.parametrize("name", choices_of("experiment"))
def test_every_experiment_says_what_it_takes_and_needs(name: str) -> None:
    path = CONF / "experiment" / f"{name}.yaml"
    said = configs.sizes(path) if name.startswith(GRIDS) else configs.cost(path)
    assert "needs " in said or said.count("size=") == len(SIZES)
    assert said.endswith(".")
