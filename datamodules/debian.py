"""Files in a Debian package, read without ``dpkg`` and without root: an ar archive with a tar in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from networks.checkpoints.errors import GanvasError

_AR, _AR_HEADER = b"!<arch>\n", 60


def files_of_deb(path: Path, wanted: Callable[[str], bool], key: str, package: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of files in a ``.deb``.

    Args:
        path: of the package.
        wanted: says of a path inside whether it is one of them.
        key: the option that names the package, for sentences.
        package: what it should be, for sentences.

    Raises:
        GanvasError: if it is no package, is packed in another way, or is damaged.
    """
    try:
        with path.open("rb") as file:
            name = _seek_data(file)
            if not name.endswith((".xz", ".gz", ".bz2", ".tar")):
                raise GanvasError(f"{key}={path} is packed as {name}, which is not read here: unpack it with "
                                  f"`dpkg-deb -x {path} FOLDER` and give the folder.")
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    if member.isfile() and wanted(member.name):
                        yield member.name, tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise GanvasError(f"{key}={path} is no Debian package, or damaged ({error}): give {package}.") from error


def package_named(name: str) -> str:
    """What an option wants that takes this package, for sentences."""
    return (f"the Debian package {name}, as a .deb that `apt-get download {name}` fetches or a folder that "
            "`dpkg-deb -x` unpacked it into")  # fmt: skip


def _seek_data(file: io.BufferedReader) -> str:
    """Go to the start of a ``.deb``'s data, and say what its member is called."""
    if file.read(len(_AR)) != _AR:
        raise ValueError("it does not begin as an ar archive")
    while header := file.read(_AR_HEADER):
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        if name.startswith("data.tar"):
            return name
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("it holds no data.tar")
