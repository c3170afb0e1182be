"""``ganvas edit layout=``: steps, scripts, saved edits and completion on a small BlobGAN, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from editors import load_edit
from launch import cli
from launch.figures import read_figures
from networks.blobgan import Layout
from networks.checkpoints.bundle import save_bundle
from networks.checkpoints.generators import load_generator, save_generator
from networks.checkpoints.latents import load_latent, save_latent
from networks.latent import Latent
from tests.networks.test_blobgan import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator, and three scenes of it."""
    found = tmp_path_factory.mktemp("blobs")
    save_generator(found / "blobgan.safetensors", made(), {})
    words = ["sample", f"generator={found / 'blobgan.safetensors'}", "n=3", f"out={found / 'samples'}"]
    assert cli.main(words) == cli.OK
    return found


def edit(folder: Path, out: Path, *words: str) -> int:
    given = [f"layout={folder / 'samples' / 'latents.safetensors'}", f"generator={folder / 'blobgan.safetensors'}"]
    keys = {word.partition("=")[0] for word in words}
    return cli.main(["edit", *(word for word in given if word.partition("=")[0] not in keys), f"out={out}", *words])


def layouts(path: Path) -> Layout:
    return Layout.of(load_latent(path)[0])


def test_a_blob_is_moved(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(folder, tmp_path / "a", "move=1:+0.2,0", "video=3") == cli.OK
    printed = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)
    assert printed["scenes"] == "3"
    before, after = layouts(folder / "samples" / "latents.safetensors"), layouts(tmp_path / "a" / "latents.safetensors")
    torch.testing.assert_close(after.centre[:, 1, 0], before.centre[:, 1, 0] + 0.2)
    assert torch.equal(after.centre[:, [0, 2]], before.centre[:, [0, 2]])
    assert sorted(path.name for path in (tmp_path / "a" / "images").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    assert (tmp_path / "a" / "sheet.png").is_file()
    assert (tmp_path / "a" / "strip.png").is_file()
    with Image.open(tmp_path / "a" / "video.gif") as video:
        assert video.n_frames == 3
    found = read_figures(tmp_path / "a")
    assert set(found.figures) == {"inside", "outside", "region", "seconds"}
    assert found.figures["outside"].protocol.images == 3
    assert [row["name"] for row in found.each] == ["0000", "0001", "0002"]
    # the same as a program, and as the edit that was saved
    assert edit(folder, tmp_path / "b", "program=move 1 0.2 0") == cli.OK
    vector = f"vector={tmp_path / 'a' / 'vector.safetensors'}"
    assert edit(folder, tmp_path / "c", vector) == cli.OK
    assert edit(folder, tmp_path / "d", vector, "name=aside") == cli.OK
    assert [load_edit(tmp_path / part / "vector.safetensors").name for part in "acd"] == ["edit", "edit", "aside"]
    for other in ("b", "c"):
        assert torch.equal(layouts(tmp_path / other / "latents.safetensors").centre, after.centre)


def test_half_the_strength_goes_half_the_way(folder: Path, tmp_path: Path) -> None:
    assert edit(folder, tmp_path, "program=move 1 0.2 0", "strength=0.5", "scenes=[2]") == cli.OK
    before, after = layouts(folder / "samples" / "latents.safetensors"), layouts(tmp_path / "latents.safetensors")
    torch.testing.assert_close(after.centre[0, 1, 0], before.centre[2, 1, 0] + 0.1)
    assert load_latent(tmp_path / "latents.safetensors")[1] == ("0002",)


def test_a_script_is_data(folder: Path, tmp_path: Path) -> None:
    steps = [
        {"do": "remove", "blobs": [0], "strength": 0.5}, "duplicate 1 0.1 0", {"do": "background", "scene": 2},
        {"do": "restyle", "blobs": "all", "from": "1:2"},
    ]  # fmt: skip
    as_json, as_yaml = tmp_path / "edits.json", tmp_path / "edits.yaml"
    as_json.write_text(json.dumps(steps))
    as_yaml.write_text("- {do: remove, blobs: 0, strength: 0.5}\n- duplicate 1 0.1 0\n- {do: background, scene: 2}\n"
                       "- do: restyle\n  blobs: all\n  from: 1:2\n")  # fmt: skip
    found = []
    for script in (as_json, as_yaml):
        out = tmp_path / script.suffix[1:]
        assert edit(folder, out, f"script={script}") == cli.OK
        found.append(layouts(out / "latents.safetensors"))
    assert torch.equal(found[0].size, found[1].size)
    assert found[0].k == 4
    style = layouts(folder / "samples" / "latents.safetensors").style[1, 3]
    assert all(torch.equal(each.style[:, 1:], style.expand(3, 4, -1)) for each in found)
    module = load_edit(tmp_path / "json" / "vector.safetensors").module
    assert [step.action for step in module.steps] == ["remove", "duplicate", "background", "restyle"]
    edited, _ = load_latent(tmp_path / "json" / "latents.safetensors")
    assert load_generator(folder / "blobgan.safetensors").render(edited).shape == (3, 3, 32, 32)


def test_a_swap_writes_both_scenes(folder: Path, tmp_path: Path) -> None:
    assert edit(folder, tmp_path, "program=swap 0 2:1", "scenes=0") == cli.OK
    before = layouts(folder / "samples" / "latents.safetensors")
    mine, theirs = (layouts(tmp_path / part / "latents.safetensors") for part in ("", "scene_2"))
    assert torch.equal(mine.style[0, 1], before.style[2, 2])
    assert torch.equal(theirs.style[0, 2], before.style[0, 1])
    assert (tmp_path / "scene_2" / "images" / "0000.png").is_file()


def test_scenes_are_completed_around_what_is_kept(folder: Path, tmp_path: Path) -> None:
    words = ["keep=[0]", "seed=4"]
    assert edit(folder, tmp_path / "a", *words, "video=3", "strip=[0,1]", "name=around") == cli.OK
    start, found = folder / "samples" / "latents.safetensors", tmp_path / "a" / "latents.safetensors"
    before, after = layouts(start), layouts(found)
    assert torch.equal(after.centre[:, 0], before.centre[:, 0])
    assert not torch.equal(after.centre[:, 1], before.centre[:, 1])
    assert "distance" in read_figures(tmp_path / "a").figures
    with Image.open(tmp_path / "a" / "video.gif") as video:
        assert video.n_frames == 3
    assert (tmp_path / "a" / "strip.png").is_file()
    # an edit like any other: half of it is half of the way, and saved it does the same
    assert load_edit(tmp_path / "a" / "vector.safetensors").name == "around"
    assert edit(folder, tmp_path / "b", *words, "strength=0.5") == cli.OK
    assert edit(folder, tmp_path / "c", f"vector={tmp_path / 'a' / 'vector.safetensors'}", "strength=0.5") == cli.OK
    for other in ("b", "c"):
        half = layouts(tmp_path / other / "latents.safetensors")
        assert torch.equal(half.style[:, 1], before.style[:, 1])
        torch.testing.assert_close(half.centre, (before.centre + after.centre) / 2)


def test_what_is_around_may_forget_what_is_in_the_kept_blobs(folder: Path, tmp_path: Path) -> None:
    for part, words in (("a", []), ("b", ["only_places=true"])):
        assert edit(folder, tmp_path / part, "keep=[0]", *words) == cli.OK
    before = layouts(folder / "samples" / "latents.safetensors")
    whole, free = (layouts(tmp_path / part / "latents.safetensors") for part in "ab")
    for after in (whole, free):
        assert torch.equal(after.style[:, 1], before.style[:, 1])
    assert not torch.equal(whole.style[:, 2], free.style[:, 2])


def test_scenes_take_the_look_of_others(folder: Path, tmp_path: Path) -> None:
    assert cli.main(["sample", f"generator={folder / 'blobgan.safetensors'}", "n=2", "seed=9",
                     f"out={tmp_path / 'others'}"]) == cli.OK  # fmt: skip
    words = [f"like={tmp_path / 'others' / 'latents.safetensors'}", "scenes=[0,2]", "name=look", "strip=[0,1]"]
    assert edit(folder, tmp_path / "a", *words) == cli.OK
    before, after = layouts(folder / "samples" / "latents.safetensors"), layouts(tmp_path / "a" / "latents.safetensors")
    assert torch.equal(after.centre, before.centre[[0, 2]])
    assert not torch.equal(after.style, before.style[[0, 2]])
    assert load_edit(tmp_path / "a" / "vector.safetensors").name == "look"


def test_a_completion_is_one_for_each_of_more_scenes_than_are_shown(folder: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    assert cli.main(["sample", f"generator={folder / 'blobgan.safetensors'}", "n=9", f"out={many}"]) == cli.OK
    words = [f"layout={many / 'latents.safetensors'}", "keep=[0]", "video=2"]
    assert edit(folder, tmp_path / "out", *words) == cli.OK
    assert len(layouts(tmp_path / "out" / "latents.safetensors")) == 9


def test_styles_of_another_scene_are_matched(folder: Path, tmp_path: Path) -> None:
    """Of its own scene in another order each blob is given its own style back, where `transfer` mixes them up."""
    start = folder / "samples" / "latents.safetensors"
    latent, names = load_latent(start)
    before = Layout.of(latent)
    permuted = save_latent(tmp_path / "p.safetensors", before.take([2, 0, 1]).latent(latent.generator_hash), names)
    script = tmp_path / "edits.yaml"
    script.write_text("- {do: match, scene: 1}\n")
    words = [f"source={permuted}", "scenes=[1]"]
    assert edit(folder, tmp_path / "a", "program=match 1", *words) == cli.OK
    assert edit(folder, tmp_path / "b", f"script={script}", *words, "video=2") == cli.OK
    assert edit(folder, tmp_path / "c", "program=transfer 1", *words) == cli.OK
    found = [layouts(tmp_path / each / "latents.safetensors").style for each in ("a", "b", "c")]
    assert torch.equal(found[0], before.style[[1]])
    assert torch.equal(found[1], before.style[[1]])
    assert torch.equal(found[2], before.style[[1]][:, [0, 3, 1, 2]])
    other = load_edit(tmp_path / "a" / "vector.safetensors")
    assert torch.equal(Layout.of(other.apply(latent[[1]])).style, before.style[[1]])


def test_an_image_is_edited_by_the_blobs_that_it_is_found_to_have(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    picture = folder / "samples" / "0001.png"
    words = [f"generator={folder / 'blobgan.safetensors'}", f"image={picture}", "move=1:+0.2,0"]
    assert cli.main(["edit", *words, f"out={tmp_path / 'edited'}"]) == cli.OK
    assert "inverted at " in capsys.readouterr().out
    after, names = load_latent(tmp_path / "edited" / "latents.safetensors")
    assert names == ("0001",)
    assert read_figures(tmp_path / "edited").figures["outside"].protocol.split == "inverted"
    words[-1] = "program=move 1 0 0"
    assert cli.main(["edit", *words, f"out={tmp_path / 'still'}"]) == cli.OK
    before, _ = load_latent(tmp_path / "still" / "latents.safetensors")
    torch.testing.assert_close(Layout.of(after).centre[:, 1, 0], Layout.of(before).centre[:, 1, 0] + 0.2)


def test_what_leaves_the_image_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(folder, tmp_path, "program=place 1 4 0.5", "scenes=1") == cli.OK
    assert "warning: blob 1 of scene 0001 lies outside the image" in capsys.readouterr().err


def other_files(folder: Path, tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be used, by name."""
    latent, names = load_latent(folder / "samples" / "latents.safetensors")
    wide = latent.replace(style=torch.zeros(3, 4, 9))
    files = {
        "layout": folder / "samples" / "latents.safetensors",
        "foreign": save_latent(tmp_path / "f.safetensors", Layout.of(latent).latent("f" * 64), names),
        "edited": save_latent(tmp_path / "e.safetensors", Layout.of(latent).latent(latent.generator_hash), names),
        "wide": save_latent(tmp_path / "w.safetensors", wide, names),
        "needles": save_latent(tmp_path / "n.safetensors", latent.replace(log_aspect=torch.full((3, 3), 500.0)), names),
        "bright": save_latent(tmp_path / "l.safetensors", latent.replace(style=latent.tensors["style"] * 1e20), names),
        "codes": save_latent(tmp_path / "z.safetensors", Latent("z", {"z": torch.zeros(2, 16)})),
        "script": tmp_path / "s.yaml", "dictionary": tmp_path / "d.yaml", "broken": tmp_path / "b.yaml",
    }  # fmt: skip
    files["script"].write_text("- {do: fly, blobs: 0}\n")
    files["dictionary"].write_text("do: remove\n")
    files["broken"].write_text("- {do: remove\n")
    return files


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["program=move 9 0 0"], "names blob 9, and the scenes have blobs 0 to 2"),
        (["program=move 1 nan 0"], "nan is no number"),
        (["program=fly 1"], "asks for fly; blobs can move"),
        (["program=background 7"], "there is no scene `7` to take from; there are mean, 0, 1, 2"),
        (["move=3"], "move=3 must read BLOB:RIGHT,DOWN"),
        (["move=7:0,0"], "names blob 7"),
        (["script={script}"], "asks for fly"),
        (["script={dictionary}"], "must be a list of steps"),
        (["script={broken}"], "cannot be read"),
        (["script=/no/such.yaml"], "cannot be read"),
        (["layout={foreign}", "program=remove 0"], "belong to generator ffffffffffff"),
        (["layout={wide}", "program=remove 0"], "structure and style of 10 and 9 numbers"),
        (["layout={needles}", "program=remove 0"], "have a log_aspect outside of [-40, 40]; draw or edit them again"),
        (["layout={bright}", "program=remove 0"], "have a style of more than 100 times the usual length"),
        (["program=stretch 1 1e300"], "the scenes would have a log_aspect outside of [-40, 40]; do less of it"),
        (["program=stretch 1 10", "strip=[1,1e30]"], "at strength 1e+30 the scenes would have a log_aspect outside of"),
        (["program=duplicate all 0 0; duplicate all 0 0; duplicate all 0 0; duplicate all 0 0; duplicate all 0 0; "
          "duplicate all 0 0; duplicate all 0 0"], "would have 192 blobs, and 1 to 191 can be rendered"),
        (["layout={codes}", "program=remove 0"], "are no layouts"),
        (["layout=/no/such.safetensors", "program=remove 0"], "there is no file"),
        (["source={wide}", "program=restyle 0 0:0"], "the scenes of source="),
        (["scenes=[5]", "program=remove 0"], "names scene 5, and"),
        (["keep=[5]"], "cannot be kept; give some of 0 to 2"),
        (["keep=[1]", "source={wide}"], "and keep= takes nothing: leave it out"),
        (["move=1:0.1,0", "source={wide}"], "source= is for steps of program= or script= that take something"),
        (["move=1:0.1,0", "seed=3"], "seed= is of what keep= draws anew"),
        (["move=1:0.1,0", "only_places=true"], "only_places= is of what keep= draws anew"),
        (["like={edited}"], "has edited scenes, which have no code to begin at: give 3 as `ganvas sample` drew them"),
        (["like={layout}", "scenes=[0]"], "has 3 scenes: give 1 as `ganvas sample` drew them"),
        (["like={wide}"], "the scenes of like="),
        (["keep=[1]", "strength=[1,2]"], "must be one number"),
        (["keep=[1]", "strength=nan"], "strength=[nan]"),
        (["keep=[1]", "video=1"], "video=1 does not move"),
        (["program=remove 0", "move=1:0,0"], "give one of move=, program=, script=, vector=, like=, keep="),
        ([], "give one of move="),
        (["layout=", "image=/no/such.png", "program=remove 0"], "image=/no/such.png is neither an image nor a folder"),
        (["program=remove 0", "image=x.png"], "give one of layout= and image="),
        (["program=remove 0", "paste=poisson"], "paste= does not go with layout="),
        (["program=remove 0", "generator=null"], "layout= needs generator=FILE"),
        (["program=remove 0", "strength=[1,2]"], "must be one number"),
        (["program=remove 0", "strength=nan"], "strength=[nan]"),
        (["program=remove 0", "video=1"], "video=1 does not move"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], says: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = other_files(folder, tmp_path)
    filled = [word.format(**files) if word.partition("=")[2].startswith("{") else word for word in words]
    assert edit(folder, tmp_path / "out", *filled) == cli.REFUSED
    error = capsys.readouterr().err
    assert says in error
    assert len([line for line in error.splitlines() if line]) == 1
    assert not (tmp_path / "out").exists()


def test_parameters_that_are_not_numbers(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ganvas writes no such file; another program's is refused as it is read."""
    from safetensors.torch import save_file

    from networks.checkpoints.bundle import read_manifest, tensors_hash

    path = folder / "samples" / "latents.safetensors"
    latent, _ = load_latent(path)
    spoilt = {**latent.tensors, "size": torch.full_like(latent.tensors["size"], torch.nan)}
    manifest = read_manifest(path) | {"hash": tensors_hash(spoilt)}
    save_file(spoilt, tmp_path / "nan.safetensors", metadata={"ganvas": json.dumps(manifest)})
    assert edit(folder, tmp_path / "out", f"layout={tmp_path / 'nan.safetensors'}", "program=remove 0") == cli.REFUSED
    assert "has values that are NaN or infinite" in capsys.readouterr().err


def test_only_blobgan_has_blobs(
    folder: Path, tiny_generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edit(folder, tmp_path / "out", f"generator={tiny_generator}", "program=remove 0") == cli.REFUSED
    assert "is no BlobGAN" in capsys.readouterr().err
    assert cli.main(["edit", "image=a.png", "program=remove hair", "out=x"]) == cli.REFUSED
    assert "needs segmentation=FILE" in capsys.readouterr().err
    assert cli.main(["edit", "segmentation=b", "image=a.png", "move=1:0,0", "out=x"]) == cli.REFUSED
    assert "move= is for blobs: give layout=FILE" in capsys.readouterr().err
    bundle = save_bundle(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"kind": "moon"})
    assert edit(folder, tmp_path / "out", f"generator={bundle}", "program=remove 0") == cli.REFUSED
    assert "there is no editor for" in capsys.readouterr().err
