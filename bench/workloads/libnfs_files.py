"""Writes, or reads and compares, many small files over NFSv3 with libnfs, one mount for all; prints the seconds.

A script for nfs.py, which runs it where the server can be reached: libnfs_files.py write|read URL COUNT BYTES, where
`written-N` is what is written and `served-N` what is read; or libnfs_files.py remove URL NAME.
"""

import ctypes
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

# The releases whose functions these are: Debian 12 has 13, Debian 13 has 14. 16 orders the arguments otherwise.
_LIBRARIES = ("libnfs.so.13", "libnfs.so.14")


class _Url(ctypes.Structure):
    _fields_ = (("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p))


def load_library() -> ctypes.CDLL:
    """The library, with the types of what is used of it."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.nfs_init_context.restype = ctypes.c_void_p
        library.nfs_get_error.restype = ctypes.c_char_p
        library.nfs_parse_url_dir.restype = ctypes.POINTER(_Url)
        return library
    sys.exit(f"no {' or '.join(_LIBRARIES)} here; `make bench-programs` installs it")


class Mount:
    """A mounted export."""

    def __init__(self, url: str) -> None:
        self._library = load_library()
        self._context = ctypes.c_void_p(self._library.nfs_init_context())
        parsed = self._library.nfs_parse_url_dir(self._context, url.encode())
        if not parsed:
            self._fail("read the URL")
        self._call("mount", parsed.contents.server, parsed.contents.path)

    def write(self, name: bytes, content: bytes) -> None:
        """Make a file, or overwrite it."""
        file = ctypes.c_void_p()
        self._call("creat", name, 0o644, ctypes.byref(file))
        if self._call("write", file, ctypes.c_uint64(len(content)), content) != len(content):
            self._fail("write all")
        self._call("close", file)

    def remove(self, name: bytes) -> None:
        """Remove a file, if it is there."""
        self._library.nfs_unlink(self._context, name)

    def read(self, name: bytes, size: int) -> bytes:
        """The content of a file, and no more than ``size`` of it."""
        file, buffer = ctypes.c_void_p(), ctypes.create_string_buffer(size)
        self._call("open", name, os.O_RDONLY, ctypes.byref(file))
        got = self._call("read", file, ctypes.c_uint64(size), buffer)
        self._call("close", file)
        return buffer.raw[:got]

    def _call(self, name: str, *arguments: object) -> int:
        result: int = getattr(self._library, f"nfs_{name}")(self._context, *arguments)
        if result < 0:
            self._fail(name)
        return result

    def _fail(self, what: str) -> NoReturn:
        sys.exit(f"libnfs cannot {what}: {(self._library.nfs_get_error(self._context) or b'').decode()}")


def content(number: int, size: int) -> bytes:
    """Of a file: another one for each, and the same in every run."""
    return hashlib.shake_128(str(number).encode()).digest(size)


def write(mount: Mount, contents: Sequence[bytes]) -> float:
    """Make new files; how long that took."""
    names = [b"/written-%d" % number for number in range(len(contents))]
    for name in names:
        mount.remove(name)
    began = time.perf_counter()
    for name, expected in zip(names, contents, strict=True):
        mount.write(name, expected)
    return time.perf_counter() - began


def read(mount: Mount, contents: Sequence[bytes]) -> float:
    """Read files and compare them; how long that took."""
    began = time.perf_counter()
    for number, expected in enumerate(contents):
        if mount.read(b"/served-%d" % number, len(expected) + 1) != expected:
            sys.exit("what was read is not what is served")
    return time.perf_counter() - began


def main(what: str, url: str, *arguments: str) -> None:
    """Do what the command line says."""
    mount = Mount(url)
    if what == "remove":
        mount.remove(arguments[0].encode())
        return
    count, size = map(int, arguments)
    contents = [content(number, size) for number in range(count)]
    print({"write": write, "read": read}[what](mount, contents))


if __name__ == "__main__":
    main(*sys.argv[1:])
