"""A repository is read and never left: links, `..`, devices, ignore rules, git."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostiary.gateway.errors import InputValidationError, PathTraversalError
from ostiary.gateway.io import AgentInput, RepositoryInput
from ostiary.gateway.io.ignore import Ignore

tidy = pytest.mark.usefixtures("no_leaked_descriptors")


def names(found: list[Path]) -> list[str]:
    return [path.as_posix() for path in found]


# --- the environment, and what is a repository


def test_from_environment(repository: Path) -> None:
    given = RepositoryInput.from_environment(
        {"REPO_PATH": str(repository), "REPO_REF": "main", "REPO_URL": "https://forge.example/a"}
    )
    assert given == RepositoryInput(repository, "main", "https://forge.example/a")
    assert given.io_type == "repository"
    given.validate()


@pytest.mark.parametrize("environ", [{}, {"REPO_PATH": ""}], ids=["unset", "empty"])
def test_no_path_in_the_environment(environ: dict[str, str]) -> None:
    with pytest.raises(InputValidationError, match="REPO_PATH") as caught:
        RepositoryInput.from_environment(environ)
    assert caught.value.exit_code == 41


def test_a_path_may_be_text(repository: Path) -> None:
    assert RepositoryInput(str(repository)).path == repository  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["missing", "README.md", "nul\0"])
def test_what_is_no_directory(repository: Path, name: str) -> None:
    with pytest.raises(InputValidationError) as caught:
        RepositoryInput(repository / name).validate()
    assert caught.value.exit_code == 41
    assert not isinstance(caught.value, PathTraversalError)
    pickle.loads(pickle.dumps(caught.value))


@pytest.mark.parametrize("path", ["..", "a/../b", "/x/..", "../../etc"])
def test_a_path_that_climbs(path: str) -> None:
    """Before anything is looked up: 42 also where there is no such directory."""
    with pytest.raises(PathTraversalError) as caught:
        RepositoryInput(Path(path)).validate()
    assert caught.value.exit_code == 42


def test_a_name_may_begin_with_dots(repository: Path) -> None:
    odd = repository / "..odd"
    odd.mkdir()
    RepositoryInput(odd).validate()


def test_the_root_is_no_link(repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(repository)
    with pytest.raises(PathTraversalError, match="symbolic link"):
        RepositoryInput(link).validate()


def test_containment(repository: Path, tmp_path: Path) -> None:
    RepositoryInput(repository).validate(within=tmp_path)
    with pytest.raises(PathTraversalError, match="does not lie below"):
        RepositoryInput(tmp_path).validate(within=repository)


def test_other_inputs_say_how_they_are_read() -> None:
    class Own(AgentInput):
        io_type = "own"

        def validate(self) -> None:
            pass

    with pytest.raises(InputValidationError, match="Own does not say"):
        Own.from_environment({})
    with pytest.raises(TypeError):
        AgentInput()  # type: ignore[abstract]


# --- listing


@tidy
def test_list_files(repository: Path) -> None:
    given = RepositoryInput(repository)
    assert names(given.list_files()) == [
        "README.md",
        "data/blob.bin",
        "src/..odd",
        "src/app.py",
        "src/deep/er/leaf.py",
        "src/net.py",
    ]
    assert names(given.list_files({".md"})) == ["README.md"]
    assert given.list_files({".PY"}) == []
    assert given.list_files(set()) == given.list_files()
    assert names(given.list_files({".py"}, exclude=["src/deep"])) == ["src/app.py", "src/net.py"]
    assert names(given.list_files(exclude=["src/*", "*.bin"])) == ["README.md"]


def test_limits_of_size_and_kind(repository: Path) -> None:
    given = RepositoryInput(repository)
    (repository / "large.txt").write_bytes(b"x" * 1000)
    assert "large.txt" in names(given.list_files(max_bytes=1000))
    assert "large.txt" not in names(given.list_files(max_bytes=999))
    assert "data/blob.bin" not in names(given.list_files(text_only=True))
    assert "src/app.py" in names(given.list_files(text_only=True))


def test_nothing_is_in_what_is_not_there(tmp_path: Path) -> None:
    assert RepositoryInput(tmp_path / "missing").list_files() == []


@tidy
def test_links_are_not_listed_and_not_entered(repository: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("token = 1\n")
    before = RepositoryInput(repository).list_files()
    (repository / "file.py").symlink_to(outside / "secret.py")
    (repository / "directory").symlink_to(outside)
    (repository / "inside.py").symlink_to(repository / "src/app.py")
    (repository / "loop").symlink_to(repository)
    (repository / "dangling").symlink_to("nowhere")
    os.mkfifo(repository / "fifo")
    assert RepositoryInput(repository).list_files() == before
    assert RepositoryInput(repository).list_files(text_only=True, max_bytes=10**6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_not_passed_over(repository: Path) -> None:
    (repository / "src/deep").chmod(0)
    try:
        with pytest.raises(InputValidationError, match="src/deep"):
            RepositoryInput(repository).list_files()
        assert RepositoryInput(repository).list_files(exclude=["src/deep"])
    finally:
        (repository / "src/deep").chmod(0o755)


def test_a_tree_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    name, depth = "deep" * 50, 40  # the system takes 4096 bytes in one piece
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    given = RepositoryInput(tmp_path)
    (leaf,) = given.list_files()
    assert len(leaf.parts) == depth + 1
    assert given.read_bytes(leaf) == b""
    shutil.rmtree(tmp_path / name)


def test_names_that_are_not_utf8(repository: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.py")
    (repository / name).write_text("x = 1\n")
    given = RepositoryInput(repository)
    assert Path(name) in given.list_files({".py"})
    assert given.read_text(name) == "x = 1\n"


# --- opening


@tidy
def test_open_and_read(repository: Path) -> None:
    given = RepositoryInput(repository)
    with given.open("src/app.py") as file:
        assert file.read() == b"import os\n\nprint(os.name)\n"
    assert given.read_text(Path("src/app.py")).startswith("import os")
    assert given.read_text("./src//app.py") == given.read_text("src/app.py")
    assert given.read_bytes("data/blob.bin") == b"\x00\x01\x02"
    for path in given.list_files():
        given.read_bytes(path)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "src/../../outside", "src/..", "..", "src/../README.md"]
)
def test_paths_that_climb_are_refused(repository: Path, path: str) -> None:
    (repository.parent / "outside").write_text("x")
    with pytest.raises(PathTraversalError) as caught:
        RepositoryInput(repository).open(path)
    assert caught.value.exit_code == 42


@tidy
@pytest.mark.parametrize("path", ["missing", "src", "", ".", "README.md/x", "a\0b", "fifo"])
def test_what_is_no_file_is_refused(repository: Path, path: str) -> None:
    os.mkfifo(repository / "fifo")
    with pytest.raises(InputValidationError):
        RepositoryInput(repository).open(path)


@tidy
@pytest.mark.parametrize("path", ["link.py", "linked/secret.py", "src/up/outside/secret.py"])
def test_links_are_refused_wherever_they_stand(repository: Path, path: str) -> None:
    outside = repository.parent / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("token = 1\n")
    (repository / "link.py").symlink_to(outside / "secret.py")
    (repository / "linked").symlink_to(outside)
    (repository / "src/up").symlink_to(repository.parent)
    with pytest.raises(PathTraversalError, match="symbolic link"):
        RepositoryInput(repository).read_bytes(path)


@tidy
def test_a_link_put_in_place_meanwhile_is_never_followed(repository: Path) -> None:
    """A directory that is exchanged for a link, over and over, while its file is read."""
    outside = repository.parent / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("token = 1\n")
    link, real = repository / "link", repository / "src"
    link.symlink_to(outside)
    stopped = threading.Event()

    def exchange() -> None:
        aside = repository / "aside"
        while not stopped.is_set():
            real.rename(aside)
            link.rename(real)
            real.rename(link)
            aside.rename(real)

    thread = threading.Thread(target=exchange)
    thread.start()
    given, read = RepositoryInput(repository), 0
    try:
        for _ in range(400):
            try:
                assert "token" not in given.read_text("src/app.py")
                read += 1
            except (PathTraversalError, InputValidationError):
                pass
    finally:
        stopped.set()
        thread.join()
    assert given.read_text("src/app.py").startswith("import os")


@tidy
def test_read_limits(repository: Path) -> None:
    given = RepositoryInput(repository)
    (repository / "large").write_bytes(b"x" * 1001)
    assert len(given.read_bytes("large", max_bytes=1001)) == 1001
    with pytest.raises(InputValidationError, match="larger than 1000"):
        given.read_bytes("large", max_bytes=1000)


def test_text_that_is_not_utf8(repository: Path) -> None:
    given = RepositoryInput(repository)
    (repository / "latin").write_bytes(b"caf\xe9")
    (repository / "marked").write_bytes(b"\xef\xbb\xbfx")
    assert given.read_text("latin") == "caf\ufffd"
    assert given.read_text("marked") == "x"
    with pytest.raises(InputValidationError, match="UTF-8") as caught:
        given.read_text("latin", errors="strict")
    assert caught.value.__context__ is None


# --- .gitignore, beside git itself


def git(top: Path, *arguments: str, input: bytes = b"") -> bytes:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
        cwd=top,
        input=input,
        env={"PATH": os.environ["PATH"], "HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        check=arguments[0] != "check-ignore",  # which tells by 1 that it found nothing
    ).stdout


@tidy
def test_gitignore(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    git(repository, "init", "-q")
    for name in ["build/out.o", "src/build/x", "a.log", "keep.log", "src/tmp/a.log", "docs/x.tmp"]:
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (repository / ".gitignore").write_text("/build/\n*.log\n!keep.log\n**/tmp/\n# comment\n\n")
    (repository / "src/.gitignore").write_text("*.py\n!app.py\n")
    (repository / ".git/info/exclude").write_text("*.tmp\n")
    theirs = git(repository, "ls-files", "-z", "-o", "--exclude-standard").decode().split("\0")
    ours = RepositoryInput(repository).list_files(gitignore=True)
    assert names(ours) == sorted(filter(None, theirs), key=lambda name: Path(name).parts)
    assert "a.log" in names(RepositoryInput(repository).list_files())


PARTS = st.sampled_from(
    [
        *("*", "**", "?", "a", "b", ".", "ab", "/", "/", "!", "#", " ", "[", "]", "-", "é", "\\"),
        *("[ab]", "[!a]", "[^b]", "[a-c]", "[]a]", "[[:alpha:]]", "[[:x:]]", "[b-]", "[a"),
        *("[z-a]", "[\\]]", "\\*"),
    ]
)
PATTERN = st.lists(PARTS, min_size=1, max_size=6).map("".join)
NAMES = st.text(st.sampled_from("ab.-]*é [\\!#"), min_size=1, max_size=3).filter(
    lambda name: name not in {".", ".."} and not name.startswith("!")
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("checkout")
    git(top, "init", "-q")
    return top


@settings(max_examples=60)
@given(
    patterns=st.lists(PATTERN, min_size=1, max_size=3),
    paths=st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=12),
)
@example(patterns=["***/*"], paths=[["["], ["a", "b"]])
@example(patterns=["a/***"], paths=[["a"], ["a", "b"]])
def test_patterns_mean_what_git_means(
    checkout: Path, patterns: list[str], paths: list[list[str]]
) -> None:
    (checkout / ".gitignore").write_bytes("\n".join(patterns).encode())
    asked = {"/".join(path) for path in paths}
    said = git(
        checkout,
        *("check-ignore", "-z", "--stdin", "-v", "-n", "--no-index"),
        input="\0".join(sorted(asked)).encode(),
    )
    fields = said.decode().split("\0")
    theirs = {
        fields[at + 3]: bool(fields[at + 2]) and not fields[at + 2].startswith("!")
        for at in range(0, len(fields) - 3, 4)
    }
    assert set(theirs) == asked
    ignored = Ignore(patterns)
    for path, expected in theirs.items():
        parts = path.split("/")
        # A walk does not enter what is ignored.
        ours = any(
            ignored(parts[:end], directory=end < len(parts)) for end in range(1, len(parts) + 1)
        )
        assert ours == expected, (patterns, path)


def test_ignore_files_may_be_nested_deeper_than_calls() -> None:
    ignored = Ignore(["*.log"])
    for depth in range(1, 5000):
        ignored = Ignore(["*.tmp"], ["d"] * depth, ignored)
    assert ignored([*["d"] * 4999, "x.log"], directory=False)
    assert not ignored([*["d"] * 4999, "x.py"], directory=False)


def test_a_hostile_pattern_takes_no_time() -> None:
    """By backtracking these would outlast the machine."""
    ignored = Ignore(
        ["*a" * 60 + "b", "/".join(["**", "a"] * 30) + "/b", "[[:alpha:]]*" * 50 + "!"]
    )
    assert not ignored(["a" * 250], directory=False)
    assert not ignored(["a"] * 300, directory=False)


# --- what commits have changed


@pytest.fixture
def history(repository: Path) -> Path:
    shutil.rmtree(repository / ".git")
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "one")
    git(repository, "checkout", "-q", "-b", "feature")
    (repository / "src/net.py").write_text("import ssl\n")
    (repository / "src/new é.py").write_text("x = 1\n")
    (repository / "README.md").unlink()
    (repository / "link.py").symlink_to("/etc/passwd")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "two")
    git(repository, "checkout", "-q", "main")
    (repository / "src/app.py").write_text("import sys\n")
    git(repository, "commit", "-q", "-a", "-m", "three")
    git(repository, "checkout", "-q", "feature")
    (repository / "data/blob.bin").write_text("not committed")
    return repository


def test_changed_files(history: Path) -> None:
    given = RepositoryInput(history)
    assert names(given.changed_files("main")) == ["src/net.py", "src/new é.py"]
    assert given.changed_files("HEAD") == []


@pytest.mark.parametrize("since", ["nowhere", "--output=x", "-x", "", "a b", "main..feature;x"])
def test_a_revision_that_is_none(history: Path, since: str) -> None:
    with pytest.raises(InputValidationError):
        RepositoryInput(history).changed_files(since)


def test_changes_of_what_is_no_checkout(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(InputValidationError, match="git checkout"):
        RepositoryInput(inner).changed_files("HEAD")


def test_what_a_repository_configures_is_not_run(history: Path) -> None:
    marker = history.parent / "ran"
    command = f"touch {marker}"
    for name in ("core.fsmonitor", "diff.external", "filter.x.clean", "core.sshCommand"):
        git(history, "config", name, command)
    (history / ".gitattributes").write_text("* filter=x diff=y\n")
    git(history, "config", "diff.y.textconv", command)
    assert RepositoryInput(history).changed_files("main")
    assert not marker.exists()
