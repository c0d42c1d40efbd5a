"""What an agent is given to work on: `AgentInput`, and a repository that no path leaves.

Files are opened name by name, each from the descriptor of the directory it is in, and no
symbolic link is followed on the way: what stands at a path cannot be exchanged for something
outside between a check and its use. Neighbours: `ignore` (.gitignore), `outputs`.
"""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from ..errors import InputValidationError, PathTraversalError
from .ignore import Ignore

__all__ = ["AgentInput", "RepositoryInput"]

PathLike: TypeAlias = str | os.PathLike[str]

DEFAULT_MAX_BYTES: Final = 16 * 1024 * 1024
_IGNORE_FILE_BYTES: Final = 1024 * 1024
_SNIFFED: Final = 8192  # as much as git looks at to tell text from binary

# Where version control keeps its own files; `.git` is a plain file in a linked work tree.
_VERSION_CONTROL: Final = frozenset({".git", ".hg", ".svn", ".jj"})

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in the tree must not hold up whoever opens it.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class AgentInput(ABC):
    """What an agent is given; subclass it for other inputs than a repository.

    A subclass that the runner is to load by itself has `from_environment`.
    """

    @property
    @abstractmethod
    def io_type(self) -> str:
        """The kind of input, in one word."""

    @abstractmethod
    def validate(self) -> None:
        """Raise `InputValidationError` when it cannot be worked on."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> AgentInput:
        """Make the input that the environment describes; None means this process's."""
        raise InputValidationError(
            f"{cls.__name__} does not say how it is read from the environment; give it a "
            "from_environment(), or give the input to AgentRunner"
        )


@dataclass
class RepositoryInput(AgentInput):
    """A checkout of a repository (docs/agents.md).

    `path` is its root, `ref` the git reference under analysis, `url` where it came from; both
    may be empty. Nothing is read before a method is called.
    """

    path: Path
    ref: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        self.path = Path(self.path)

    @property
    def io_type(self) -> str:
        """Always `repository`."""
        return "repository"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> RepositoryInput:
        """Read REPO_PATH, REPO_REF and REPO_URL.

        Raises `InputValidationError` when REPO_PATH is not set; `validate` says more.
        """
        source = os.environ if environ is None else environ
        path = source.get("REPO_PATH", "")
        if not path:
            raise InputValidationError(
                "REPO_PATH is not set; set it to the directory of the repository"
            )
        return cls(Path(path), source.get("REPO_REF", ""), source.get("REPO_URL", ""))

    def validate(self, *, within: PathLike | None = None) -> None:
        """Check that `path` is a directory that can be read, and really there.

        With `within` it also has to lie below that directory. Raises `PathTraversalError` for
        a `..` in the path, for a symbolic link, and for a root outside `within`;
        `InputValidationError` when there is no such directory.
        """
        with self._root():
            pass
        if within is not None and not _lies_below(self.path, Path(within)):
            raise PathTraversalError(f"the repository {self.path} does not lie below {within}")

    # --- what there is

    def list_files(
        self,
        extensions: Collection[str] | None = None,
        *,
        exclude: Collection[str] = (),
        gitignore: bool = False,
        max_bytes: int | None = None,
        text_only: bool = False,
    ) -> list[Path]:
        """List the regular files, as sorted paths relative to the root.

        `extensions` are last suffixes with their dots, such as `{".py"}`; None and an empty
        set let everything pass. `exclude` are glob patterns for whole relative paths, in
        which `*` also crosses slashes; a directory that matches is not entered. `gitignore`
        leaves out what git would, `max_bytes` what is larger, `text_only` what has a NUL in
        its first 8 KiB.

        Symbolic links, devices and the files of version control itself are never listed. A
        root that is not there gives an empty list. Raises `InputValidationError` when a
        directory cannot be read, since a search that skips some in silence is no search.
        """
        excluded = re.compile("|".join(map(translate, exclude))) if exclude else None
        wanted = frozenset(extensions or ())
        found: list[Path] = []
        if not os.path.isdir(self.path):
            return []
        look = max_bytes is not None or text_only
        with self._root() as root:
            for segments in self._walk(root, excluded, gitignore):
                if wanted and Path(segments[-1]).suffix not in wanted:
                    continue
                if not look or _fits(root, segments, max_bytes, text_only):
                    found.append(Path(*segments))
        return sorted(found)

    def changed_files(self, since: str) -> list[Path]:
        """List the files that commits have added or changed since HEAD left `since`.

        `since` is a branch, tag or commit; the comparison is with the point where both
        parted. Uncommitted changes do not count. The paths are relative to the root, and
        only of files that `list_files` would list. Needs the `git` program. Raises
        `InputValidationError` when that fails.
        """
        from .revisions import changed_since

        with self._root() as root:
            return sorted(
                Path(*segments)
                for segments in changed_since(self.path, since)
                if not _VERSION_CONTROL & set(segments) and _fits(root, segments, None, False)
            )

    # --- what stands in it

    def open(self, path: PathLike) -> BinaryIO:
        """Open a file below the root for reading, unbuffered; the caller closes it.

        Raises `PathTraversalError` for an absolute path, a `..` and a symbolic link anywhere
        on the way, `InputValidationError` when there is no such regular file.
        """
        with self._root() as root:
            return _opened(root, _segments(path))

    def read_bytes(self, path: PathLike, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
        """Return a file's content. Raises as `open` does, and when it is larger."""
        with self.open(path) as file:
            content = bytearray()
            # A file may grow while it is read: the limit holds for what arrives.
            while chunk := file.read(min(1 << 20, max_bytes + 1 - len(content))):
                content += chunk
                if len(content) > max_bytes:
                    raise InputValidationError(
                        f"{_shown(path)} is larger than {max_bytes} bytes; raise max_bytes"
                    )
        return bytes(content)

    def read_text(
        self, path: PathLike, *, max_bytes: int = DEFAULT_MAX_BYTES, errors: str = "replace"
    ) -> str:
        """Return a file's content as text, read as UTF-8; a byte order mark goes.

        `errors` is that of `bytes.decode`. Line ends stay as they are.
        """
        content = self.read_bytes(path, max_bytes=max_bytes)
        try:
            return content.decode("utf-8-sig", errors)
        except UnicodeDecodeError:
            pass
        # Outside the handler: that error holds the whole content.
        raise InputValidationError(f"{_shown(path)} is not UTF-8 text; use read_bytes()")

    # --- inside

    @contextmanager
    def _root(self) -> Generator[int]:
        if ".." in self.path.parts:
            raise PathTraversalError(
                f"the repository path {self.path} has a '..'; give the path without it"
            )
        try:
            root = os.open(self.path, _DIRECTORY)
        except ValueError:
            raise InputValidationError("the repository path holds a NUL") from None
        except OSError as error:
            if self.path.is_symlink():
                problem: InputValidationError | PathTraversalError = PathTraversalError(
                    f"the repository {self.path} is a symbolic link; give the directory itself"
                )
            elif isinstance(error, (FileNotFoundError, NotADirectoryError)):
                problem = InputValidationError(
                    f"the repository {self.path} is not there, or is no directory; set REPO_PATH"
                )
            else:
                problem = InputValidationError(
                    f"the repository {self.path} cannot be read: {error.strerror}"
                )
            raise problem from None
        try:
            yield root
        finally:
            os.close(root)

    def _walk(
        self, root: int, excluded: re.Pattern[str] | None, gitignore: bool
    ) -> Iterator[tuple[str, ...]]:
        """Yield the regular files below `root`, as path segments.

        One descriptor at a time and no recursion: a tree may be thousands deep.
        """
        above = _ignore_file(root, (".git", "info", "exclude"), (), None) if gitignore else None
        waiting: list[tuple[tuple[str, ...], Ignore | None]] = [((), above)]
        while waiting:
            directory, ignored = waiting.pop()
            if gitignore:
                ignored = _ignore_file(root, (*directory, ".gitignore"), directory, ignored)
            for name, is_directory in _entries(root, directory):
                path = (*directory, name)
                if name in _VERSION_CONTROL or (excluded and excluded.match("/".join(path))):
                    continue
                if ignored is not None and ignored(path, directory=is_directory):
                    continue
                if is_directory:
                    waiting.append((path, ignored))
                else:
                    yield path


def _segments(path: PathLike) -> tuple[str, ...]:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InputValidationError("a path is text; decode it with os.fsdecode()")
    if "\0" in text:
        raise InputValidationError("a path holds a NUL")
    if text.startswith("/"):
        raise PathTraversalError(f"{_shown(text)} is absolute; give it relative to the root")
    segments = tuple(one for one in text.split("/") if one not in {"", "."})
    if ".." in segments:
        raise PathTraversalError(f"{_shown(text)} has a '..'; give the path without it")
    if not segments:
        raise InputValidationError("the path is empty; name a file below the root")
    return segments


@contextmanager
def _directory(root: int, segments: Sequence[str]) -> Generator[int]:
    """Open a directory below `root`, one name after another."""
    current = os.dup(root)
    try:
        for name in segments:
            inner = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
        yield current
    finally:
        os.close(current)


def _opened(root: int, segments: Sequence[str]) -> BinaryIO:
    shown = _shown("/".join(segments))
    failure: InputValidationError | PathTraversalError
    try:
        with _directory(root, segments[:-1]) as parent:
            number = os.open(segments[-1], _FILE, dir_fd=parent)
    except OSError as error:
        if _crosses_link(root, segments):
            failure = PathTraversalError(
                f"{shown} leads over a symbolic link; name the file itself"
            )
        else:
            reason = error.strerror or type(error).__name__
            failure = InputValidationError(f"{shown} cannot be opened: {reason}")
        raise failure from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise InputValidationError(f"{shown} is not a regular file")
    os.set_blocking(number, True)
    return os.fdopen(number, "rb", buffering=0)


def _crosses_link(root: int, segments: Sequence[str]) -> bool:
    """Say why an open was refused; too late to matter for anything but the message."""
    current = os.dup(root)
    try:
        for name in segments:
            if stat.S_ISLNK(os.stat(name, dir_fd=current, follow_symlinks=False).st_mode):
                return True
            inner = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
    except OSError:
        pass
    finally:
        os.close(current)
    return False


def _entries(root: int, directory: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the names of directories (True) and regular files (False) in a directory."""
    try:
        with _directory(root, directory) as opened, os.scandir(opened) as entries:
            found: list[tuple[str, bool]] = []
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.name, True))
                elif entry.is_file(follow_symlinks=False):
                    found.append((entry.name, False))
            return found
    except OSError as error:
        reason = error.strerror or type(error).__name__
    where = _shown("/".join(directory)) if directory else "the repository"
    raise InputValidationError(f"{where} cannot be listed: {reason}; mend its mode, or exclude it")


def _fits(root: int, segments: Sequence[str], max_bytes: int | None, text_only: bool) -> bool:
    try:
        with _directory(root, segments[:-1]) as parent:
            found = os.stat(segments[-1], dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False  # it went away meanwhile, or a commit names what is not checked out
    if not stat.S_ISREG(found.st_mode) or (max_bytes is not None and found.st_size > max_bytes):
        return False
    if not text_only:
        return True
    with _opened(root, segments) as file:
        return b"\0" not in file.read(_SNIFFED)


def _ignore_file(
    root: int, segments: Sequence[str], base: Sequence[str], above: Ignore | None
) -> Ignore | None:
    """Return the patterns in a file and above it; git, too, does not read it through a link."""
    try:
        with _directory(root, segments[:-1]) as parent:
            number = os.open(segments[-1], _FILE, dir_fd=parent)
    except OSError:
        return above
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return above
        text = file.read(_IGNORE_FILE_BYTES).decode("utf-8", "surrogateescape")
    return Ignore(text.removeprefix("\ufeff").split("\n"), base, above)


def _lies_below(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top.resolve())


def _shown(path: PathLike) -> str:
    """Return a path for a message: of one line, with nothing a terminal would act on."""
    text = os.fspath(path)
    return repr(text) if len(text) <= 300 else repr(text[:300]) + " (cut)"
