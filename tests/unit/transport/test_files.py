"""Files that change: the new content when it is good, the last good one when it is not, and a line for each."""

import asyncio
import os

import pytest

from sokken.errors import ConfigurationError
from sokken.transport import files
from sokken.transport.files import WatchedFile, watch


def parse(content, *others):
    if b"bad" in content:
        raise ValueError("it is bad")
    return content.decode() + "".join(other.decode() for other in others)


@pytest.fixture
def said(monkeypatch):
    """The results that were logged, with their details."""
    lines = []

    class Log:
        def info(self, event, **fields):
            lines.append((event, fields["setting"], fields["result"], ""))

        def error(self, event, **fields):
            lines.append((event, fields["setting"], fields["result"], fields["detail"]))

    monkeypatch.setattr(files, "log", Log())
    return lines


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    return path


def test_a_file_is_read_at_once_and_changes_only_when_looked_at(path, said):
    file = WatchedFile(path, parse, "SOKKEN_X")
    began = file.changed_at
    assert (file.value, file.look(), file.changed_at) == ("one", False, began)
    path.write_text("two")
    assert file.value == "one"
    assert file.look()
    assert file.value == "two"
    assert file.changed_at > began
    assert not file.look()
    assert (file.what, file.paths, file.result) == ("SOKKEN_X", (path,), "loaded")
    assert said == [("reload", "SOKKEN_X", "loaded", "")]


@pytest.mark.parametrize("spoil", ["bad", None])
def test_the_last_good_one_stays_and_is_told_of_once(path, said, spoil):
    file = WatchedFile(path, parse, "SOKKEN_X")
    if spoil is None:
        path.unlink()
    else:
        path.write_text(spoil)
    assert not file.look()
    assert not file.look()
    assert file.value == "one"
    problem = "it is bad" if spoil else "no such file or directory"
    detail = f"SOKKEN_X: cannot use {path}: {problem}"
    assert file.result == "kept_last_good"
    assert (file.problem, said) == (detail, [("reload", "SOKKEN_X", "kept_last_good", detail)])
    path.write_text("two")
    assert file.look()
    assert (file.value, file.problem) == ("two", "")
    assert said[1:] == [("reload", "SOKKEN_X", "loaded", "")]


def test_it_is_told_which_of_its_paths_lead_nowhere(path, tmp_path, said):
    key, absent = tmp_path / "key", tmp_path / "absent"
    file = WatchedFile(path, parse, "SOKKEN_X", beside=[key], is_required=False)
    assert file.missing == (key,)
    key.write_text("key")
    assert file.look()
    assert (file.value, file.missing) == ("onekey", ())
    key.unlink()
    file.look()
    path.unlink()
    file.look()
    assert file.missing == (path, key)
    for again in (path, key):
        again.write_text("bad")
    file.look()
    assert (file.missing, file.result) == ((), "kept_last_good")
    assert WatchedFile(absent, parse, "SOKKEN_X", is_required=False).missing == (absent,)


def test_a_swapped_symlink_is_seen(tmp_path):
    """As the kubelet does it: the file is a link into ``..data``, which is replaced by another link."""
    for name in ("one", "two"):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "file").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("..one")
    (tmp_path / "file").symlink_to("..data/file")
    file = WatchedFile(tmp_path / "file", parse, "SOKKEN_X")
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").rename(data)
    assert file.look()
    assert file.value == "two"


def test_files_that_belong_together(path, tmp_path):
    other = tmp_path / "other"
    other.write_text(" and its key")
    file = WatchedFile(path, parse, "SOKKEN_X", beside=[other])
    assert file.value == "one and its key"
    other.write_text(" and another")
    assert file.look()
    assert file.value == "one and another"
    other.unlink()
    assert not file.look()
    assert file.problem == f"SOKKEN_X: cannot use {other}: no such file or directory"


def missing(path):
    path.unlink()


def bad(path):
    path.write_text("bad")


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def loop(path):
    path.unlink()
    path.symlink_to(path)


def huge(path):
    os.truncate(path, files.MAX_FILE_BYTES + 1)


PROBLEMS = [
    (missing, "no such file or directory"),
    (bad, "it is bad"),
    (folder, "is a directory"),
    (pipe, "it is no regular file"),
    (loop, "too many levels of symbolic links"),
    (huge, "it has more than 16777216 bytes"),
]


@pytest.mark.parametrize(("spoil", "problem"), PROBLEMS)
def test_what_cannot_be_used_is_an_error_at_start(path, spoil, problem):
    spoil(path)
    with pytest.raises(ConfigurationError) as caught:
        WatchedFile(path, parse, "SOKKEN_X")
    assert str(caught.value) == f"SOKKEN_X: cannot use {path}: {problem}"


def test_what_is_not_required_heals(path, said):
    path.unlink()
    file = WatchedFile(path, parse, "SOKKEN_X", is_required=False)
    with pytest.raises(ConfigurationError) as caught:
        _ = file.value
    assert file.result == "unavailable"
    assert str(caught.value) == f"SOKKEN_X: cannot use {path}: no such file or directory"
    path.write_text("one")
    assert file.look()
    assert file.value == "one"
    assert [line[2] for line in said] == ["unavailable", "loaded"]


def test_watching_looks_again_and_again():
    looks = []

    class File:
        def look(self):
            looks.append(self)
            if len(looks) == 6:
                raise asyncio.CancelledError
            return True

    two = [File(), File()]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch(iter(two), 0))
    assert looks == two * 3


def test_nothing_shows_what_is_in_a_file(path):
    assert "one" not in repr(WatchedFile(path, parse, "SOKKEN_X")).replace(str(path), "")
