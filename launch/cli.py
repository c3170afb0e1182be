"""``ganvas <verb> key=value …``: finds the verb, composes its configuration, and says in one sentence what went wrong.

Kept light: ``ganvas --help`` imports neither torch nor Hydra.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple


class Verb(NamedTuple):
    """A row of the table of verbs."""

    module: str          # has ``run(cfg) -> None``
    does: str            # one line of help
    example: str
    torch: bool = True   # whether it needs torch, which takes a second to import


VERBS = {
    "train": Verb("launch.train", "train what an experiment describes", "ganvas train experiment=segmentation/demo"),
    "sample": Verb("launch.sample", "draw images from a generator", "ganvas sample generator=G.safetensors out=DIR"),
    "invert": Verb(
        "launch.invert", "find the codes of images",
        "ganvas invert images=DIR generator=G.safetensors out=DIR",
    ),
    "evaluate": Verb(
        "launch.evaluate", "measure a generator or a segmentation",
        "ganvas evaluate generator=G.safetensors data=avatars",
    ),
    "configs": Verb("launch.configs", "list the experiments", "ganvas configs match=avatars", torch=False),
    "doctor": Verb("launch.doctor", "say what is installed and what is missing", "ganvas doctor"),
}
OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 done, 1 an error in Ganvas itself, 2 refused with one sentence, 130 interrupted.
    """
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would fail again
        return OK


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
        return _complain(str(error) or "stopped.", INTERRUPTED)
    if isinstance(error, import_module("networks.checkpoints.errors").GanvasError):
        return _complain(str(error))
    if _is_out_of_memory(error):
        keys = import_module("launch.schemas").memory_keys(cfg)
        lower = " or ".join(keys) or "the size of the work"
        return _complain(f"out of memory: lower {lower} and run the command again.")
    return _complain(f"{type(error).__name__}: {error} (debug=true shows where).", FAILED)


def _is_out_of_memory(error: BaseException) -> bool:
    gpu = type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch here
    return gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def _complain(sentence: str, status: int = REFUSED) -> int:
    print(f"ganvas: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
