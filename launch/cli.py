"""``ganvas <verb> key=value …``: finds the verb, composes its configuration, and says in one sentence what went wrong.

Kept light: ``ganvas --help`` imports neither torch nor Hydra.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

from launch.errors import Terminated, is_disk_full, is_out_of_memory, was_raised


class Verb(NamedTuple):
    """A row of the table of verbs."""

    module: str          # has ``run(cfg) -> None``
    does: str            # one line of help
    example: str
    torch: bool = True   # whether it needs torch, which takes a second to import


VERBS = {
    "train": Verb("launch.train", "train what an experiment describes", "ganvas train experiment=segmentation/demo"),
    "sample": Verb("launch.sample", "draw images from a generator", "ganvas sample generator=G.safetensors out=DIR"),
    "convert": Verb(
        "launch.convert", "bring in a checkpoint of another code base",
        "ganvas convert source=network.pkl out=G.safetensors check=true",
    ),
    "label": Verb(
        "launch.label", "choose images to label, or read the labels",
        "ganvas label generator=G.safetensors n=16 out=DIR; ganvas label import=DIR out=LABELLED",
    ),
    "invert": Verb(
        "launch.invert", "find the codes of images",
        "ganvas invert images=DIR generator=G.safetensors out=DIR",
    ),
    "edit": Verb(
        "launch.edit", "change images by a mask, a program or vectors, or scenes by their blobs",
        "ganvas edit segmentation=B.safetensors image=photo.png program='remove glasses' out=DIR",
    ),
    "synthesize": Verb(
        "launch.synthesize", "make a labelled data set out of a branch",
        "ganvas synthesize segmentation=B.safetensors n=10000 out=DIR",
    ),
    "evaluate": Verb(
        "launch.evaluate", "measure a generator or a segmentation",
        "ganvas evaluate generator=G.safetensors data=avatars",
    ),
    "sweep": Verb(
        "launch.sweep", "run a paper's experiment, or any grid of runs",
        "ganvas sweep experiment=paper/editgan_labels size=zoo out=DIR", torch=False,
    ),
    "report": Verb("launch.report", "put runs into one table, beside a paper's", "ganvas report runs=DIR"),
    "configs": Verb("launch.configs", "list the experiments", "ganvas configs match=avatars", torch=False),
    "doctor": Verb("launch.doctor", "say what is installed and what is missing", "ganvas doctor"),
}
OK, FAILED, REFUSED, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 an error in Ganvas itself, 2 refused with one sentence, 130 stopped by Ctrl-C, 143 by
        SIGTERM.
    """
    try:
        with _sigterm_like_ctrl_c():
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would fail again
        return OK


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    process = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != process:  # a worker, forked with this handler: it has nothing to tidy up
            os._exit(TERMINATED)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the tidying up is left in peace
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return OK
    name, *rest = words
    if name not in VERBS:
        return _complain(f"there is no verb `{name}`; there are {', '.join(VERBS)}.")
    if {"-h", "--help"} & set(rest):
        from launch.help import describe  # reads the schemas; the overview does not need them

        print(describe(name, VERBS[name].does, VERBS[name].example))
        return OK
    return _run(name, rest)


def overview() -> str:
    """What ``ganvas --help`` prints."""
    width = max(map(len, VERBS))
    rows = [f"  {name:<{width}}  {verb.does}\n  {'':<{width}}    {verb.example}" for name, verb in VERBS.items()]
    return "\n".join([
        "ganvas <verb> key=value …    turns a frozen GAN into an image editor",
        "",
        *rows,
        "",
        "`ganvas <verb> --help` shows its options; debug=true shows the traceback of an error.",
    ])


def _run(name: str, words: list[str]) -> int:
    debug = any(word.lower() == "debug=true" for word in words)
    cfg = None
    try:
        cfg = import_module("launch.compose").compose(name, words, command=shlex.join(["ganvas", name, *words]))
        if VERBS[name].torch:
            import_module("launch.prepare").prepare()
        import_module(VERBS[name].module).run(cfg)
    except BaseException as error:  # the one place where errors become sentences
        if debug:
            traceback.print_exc()
        return _explain(error, cfg)
    return OK


def _explain(error: BaseException, cfg: Any) -> int:
    if isinstance(error, (SystemExit, BrokenPipeError)):
        raise error
    if isinstance(error, KeyboardInterrupt):
        return _complain(str(error) or "stopped.", TERMINATED if was_raised(error, Terminated) else INTERRUPTED)
    if isinstance(error, import_module("networks.checkpoints.errors").GanvasError):
        return _complain(str(error))
    if is_disk_full(error):
        return _complain(f"the disk is full ({error}): free some space and run the command again.")
    if is_out_of_memory(error):
        keys = import_module("launch.options").marked(cfg, "memory")
        lower = " or ".join(keys) or "the size of the work"
        return _complain(f"out of memory: lower {lower} and run the command again.")
    return _complain(f"{type(error).__name__}: {error} (debug=true shows where).", FAILED)


def _close_bars() -> None:
    """End the progress bars that an error left open: they would be drawn once more, below the sentence."""
    tqdm = sys.modules.get("tqdm")
    for bar in [] if tqdm is None else list(getattr(tqdm.tqdm, "_instances", ())):
        bar.close()


def _complain(sentence: str, status: int = REFUSED) -> int:
    _close_bars()
    print(f"ganvas: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
