"""Key files: every form, every hazard, and no secret in anything that an error carries."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ostiary.errors import OstiaryError, SecretExposureError
from ostiary.secret import Secret
from ostiary.vault import keys
from ostiary.vault.errors import AuthError, KeyFileError, VaultArgumentError, VaultError
from ostiary.vault.keys import AgentKey
from tests.frames import recorded

SEED = bytes.fromhex("d0c1b2a3" * 8)
PASSPHRASE = "open-sesame-hunter2"
ROOT = os.geteuid() == 0


@pytest.fixture
def key() -> AgentKey:
    return AgentKey(Secret(SEED))


def write(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def seal(seed: bytes, passphrase: str, salt: bytes = b"s" * 16, nonce: bytes = b"n" * 24) -> str:
    """The encrypted form, written from its description and from nothing of ours."""
    derived = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, 100_000, 32)
    return (salt + nonce + nacl.bindings.crypto_secretbox(seed, nonce, derived)).hex()


def unseal(text: str, passphrase: str) -> bytes:
    blob = bytes.fromhex(text)
    assert len(blob) == 88
    salt, nonce, tag, ciphertext = blob[:16], blob[16:40], blob[40:56], blob[56:]
    derived = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, 100_000, 32)
    return nacl.bindings.crypto_secretbox_open(tag + ciphertext, nonce, derived)


def assert_hidden(
    error: BaseException, *secrets: str | bytes, ours: str = "ostiary.vault.keys"
) -> None:
    """No secret in the error, in what caused it, or in the locals of a frame of ours."""
    needles: list[str] = []
    for each in (SEED, PASSPHRASE, *secrets):
        raw = each.encode() if isinstance(each, str) else each
        needles += [raw.hex(), repr(raw)[2:-1], repr(bytearray(raw))[12:-2]]

    def check(value: object) -> None:
        text = repr(value)
        for needle in needles:
            assert needle not in text, f"{needle!r} stands in {type(value).__name__}"

    frames = 0
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each_error = waiting.pop()
        if each_error is None or each_error in seen:
            continue
        seen.append(each_error)
        assert isinstance(each_error, (OstiaryError, OSError, ValueError))
        for value in (each_error, str(each_error), each_error.args, each_error.__dict__):
            check(value)
        for frame, _ in traceback.walk_tb(each_error.__traceback__):
            name = frame.f_globals.get("__name__", "")
            # Of nacl as well: an error of its own would carry the derived key in its frames.
            if name.startswith(("ostiary.", "nacl.")):
                frames += name == ours
                for value in frame.f_locals.values():
                    check(value)
        waiting += [each_error.__cause__, each_error.__context__]
    assert frames, "no frame of the module was looked at"
    if isinstance(error, OstiaryError):
        check(pickle.dumps(error))


def refused(match: str, path: Path, passphrase: Secret | str | None = None) -> KeyFileError:
    with pytest.raises(KeyFileError, match=match) as caught:
        keys.load(path, passphrase=passphrase)
    error = caught.value
    assert isinstance(error, AuthError)
    assert error.code == "AUTH_FAILED"
    assert str(path) in str(error)
    assert error.context == {"path": str(path)}
    assert error.suggestion
    assert error.suggestion in str(error)
    assert_hidden(error)
    return error


class TestAgentKey:
    def test_signs_and_shows_its_public_half(self, key: AgentKey) -> None:
        signature = key.sign(b"challenge")
        assert len(signature) == 64
        opened = nacl.bindings.crypto_sign_open(signature + b"challenge", key.public_key)
        assert opened == b"challenge"
        assert len(key.public_key) == 32
        assert key.public_key_hex == key.public_key.hex()

    @given(st.binary(max_size=2000))
    def test_signs_exactly_the_bytes_it_is_given(self, challenge: bytes) -> None:
        key = AgentKey(Secret(SEED))
        public, expanded = nacl.bindings.crypto_sign_seed_keypair(SEED)
        assert key.public_key == public
        assert key.sign(challenge) == nacl.bindings.crypto_sign(challenge, expanded)[:64]

    def test_takes_every_kind_of_bytes(self, key: AgentKey) -> None:
        assert key.sign(b"x") == key.sign(bytearray(b"x")) == key.sign(memoryview(b"x"))

    @pytest.mark.parametrize("challenge", ["6869", None, 5, [1]])
    def test_text_is_no_challenge(self, key: AgentKey, challenge: Any) -> None:
        with pytest.raises(VaultArgumentError, match="bytes"):
            key.sign(challenge)

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_a_seed_has_32_bytes(self, size: int) -> None:
        with pytest.raises(VaultArgumentError, match="32"):
            AgentKey(Secret(bytes(size)))

    def test_a_seed_is_a_secret(self) -> None:
        with pytest.raises(VaultArgumentError, match="Secret"):
            AgentKey(SEED)  # type: ignore[arg-type]

    def test_hides_its_private_half(self, key: AgentKey) -> None:
        shown = f"{key!r} {key} {[key]} {key.seed()}"
        assert key.public_key_hex in shown
        assert SEED.hex() not in shown
        assert repr(SEED)[2:-1] not in shown
        assert not hasattr(key, "__dict__")

    def test_is_neither_pickled_nor_copied(self, key: AgentKey) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(SecretExposureError):
                pickle.dumps(key, protocol)
        for duplicate in (copy.copy, copy.deepcopy):
            with pytest.raises(SecretExposureError):
                duplicate(key)

    def test_equality_is_of_the_pair(self, key: AgentKey) -> None:
        assert key == AgentKey(Secret(SEED))
        assert hash(key) == hash(AgentKey(Secret(SEED)))
        assert key != keys.generate()
        assert key != key.public_key

    def test_the_public_half_cannot_be_replaced(self, key: AgentKey) -> None:
        with pytest.raises(AttributeError):
            key.public_key = b""  # type: ignore[misc]

    def test_wiping_a_copy_of_the_seed_leaves_the_key(self, key: AgentKey) -> None:
        key.seed().wipe()
        assert key.seed() == SEED

    def test_generated_keys_differ(self) -> None:
        assert len({keys.generate().public_key for _ in range(50)}) == 50

    def test_threads_may_share_one(self, key: AgentKey) -> None:
        expected = [key.sign(bytes([n])) for n in range(8)]
        wrong: list[int] = []

        def sign(n: int) -> None:
            wrong.extend(n for _ in range(200) if key.sign(bytes([n])) != expected[n])

        threads = [threading.Thread(target=sign, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_the_module_does_not_import_nacl(self) -> None:
        code = "import sys, ostiary.vault.keys; sys.exit('nacl' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestForms:
    @pytest.mark.parametrize(
        "text",
        [
            SEED.hex(),
            SEED.hex().upper(),
            f"{SEED.hex()}\n",
            f"{SEED.hex()}\r\n",
            f" \t\n{SEED.hex()}\x0b\x0c \r\n\n",
            b"\xef\xbb\xbf" + SEED.hex().encode(),
            b"\xef\xbb\xbf" + SEED.hex().encode() + b"\r\n",
        ],
        ids=["bare", "upper", "newline", "crlf", "spaces", "bom", "bom-crlf"],
    )
    def test_plain(self, tmp_path: Path, text: str | bytes, key: AgentKey) -> None:
        assert keys.load(write(tmp_path / "a.key", text)) == key

    def test_expanded(self, tmp_path: Path, key: AgentKey) -> None:
        text = (SEED + key.public_key).hex()
        assert keys.load(write(tmp_path / "a.key", f"{text}\n")) == key

    def test_encrypted(self, tmp_path: Path, key: AgentKey) -> None:
        file = write(tmp_path / "a.key.enc", seal(SEED, PASSPHRASE) + "\n")
        assert keys.load(file, passphrase=PASSPHRASE) == key
        assert keys.load(file, passphrase=Secret(PASSPHRASE)) == key
        assert keys.load(str(file), passphrase=PASSPHRASE) == key

    def test_the_name_does_not_decide(self, tmp_path: Path, key: AgentKey) -> None:
        assert keys.load(write(tmp_path / "x", SEED.hex())) == key
        assert keys.load(write(tmp_path / "x.enc", SEED.hex())) == key
        file = write(tmp_path / "x.key", seal(SEED, PASSPHRASE))
        assert keys.load(file, passphrase=PASSPHRASE) == key

    def test_a_passphrase_that_is_not_needed_is_not_used(
        self, tmp_path: Path, key: AgentKey
    ) -> None:
        assert keys.load(write(tmp_path / "x", SEED.hex()), passphrase=PASSPHRASE) == key

    def test_home_is_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: AgentKey
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert keys.save(key, "~/made/a.key") == tmp_path / "made/a.key"
        assert keys.load("~/made/a.key") == key


class TestContentHazards:
    @pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 63, 65, 87, 89, 2000])
    def test_wrong_length(self, tmp_path: Path, size: int) -> None:
        refused(f"holds {size} bytes", write(tmp_path / "a.key", (SEED * 70)[:size].hex()))

    @pytest.mark.parametrize(
        "text",
        [
            SEED.hex()[:-1],
            SEED.hex()[:-1] + "g",
            "0x" + SEED.hex(),
            SEED.hex()[:32] + " " + SEED.hex()[32:],
            SEED.hex()[:32] + "\n" + SEED.hex()[32:],
            SEED.hex() + "\x00",
            SEED.hex() + "\nand more",
            SEED,
            b"\xff\xfe" + SEED.hex().encode("utf-16-le"),
            SEED.hex().translate({48 + n: 0x0660 + n for n in range(10)}),
            "-----BEGIN PRIVATE KEY-----\n" + SEED.hex(),
        ],
        ids=range(11),
    )
    def test_wrong_hex(self, tmp_path: Path, text: str | bytes) -> None:
        refused("not hex text", write(tmp_path / "a.key", text))

    def test_an_expanded_key_whose_halves_differ(self, tmp_path: Path, key: AgentKey) -> None:
        other = keys.generate().public_key
        for wrong in (other, bytes(32), key.public_key[:-1] + b"\x00"):
            refused("do not belong", write(tmp_path / "a.key", (SEED + wrong).hex()))

    @pytest.mark.parametrize("wrong", ["x", PASSPHRASE + " ", PASSPHRASE.upper(), "\ud800"])
    def test_a_wrong_passphrase(self, tmp_path: Path, wrong: str) -> None:
        file = write(tmp_path / "a.key.enc", seal(SEED, PASSPHRASE))
        error = refused("does not open", file, wrong)
        assert error.__cause__ is error.__context__ is None

    @pytest.mark.parametrize("missing", [None, "", Secret("")])
    def test_a_missing_passphrase(self, tmp_path: Path, missing: Secret | str | None) -> None:
        file = write(tmp_path / "a.key.enc", seal(SEED, PASSPHRASE))
        error = refused("is encrypted", file, missing)
        assert "passphrase" in str(error)

    @pytest.mark.parametrize("size", [4097, 1 << 20, 1 << 33])
    def test_a_huge_file_is_not_read(
        self, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(tmp_path / "a.key", "0" * 64)
        os.truncate(file, size)  # sparse: the largest would not fit into memory
        taken: list[int] = []

        def spy(path: Path) -> Secret:
            # What was read is measured by how far the descriptor got.
            real_close = os.close

            def close(descriptor: int) -> None:
                taken.append(os.lseek(descriptor, 0, os.SEEK_CUR))
                real_close(descriptor)

            with monkeypatch.context() as patch:
                patch.setattr(os, "close", close)
                return real_read(path)

        real_read = keys._read
        monkeypatch.setattr(keys, "_read", spy)
        with pytest.raises(KeyFileError, match="too long"):
            keys.load(file)
        assert len(taken) == 1
        assert taken[0] <= 64 * 1024

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        content=st.binary(max_size=300)
        | st.binary(max_size=100).map(lambda raw: raw.hex().encode())
        | st.sampled_from([32, 64, 88]).flatmap(
            lambda n: st.binary(min_size=n, max_size=n).map(lambda raw: raw.hex().encode())
        )
    )
    @example(content=b"\xef\xbb\xbf")
    def test_whatever_it_holds_it_is_a_key_or_our_error(
        self, tmp_path: Path, content: bytes
    ) -> None:
        file = write(tmp_path / "a.key", content)
        try:
            key = keys.load(file)
        except KeyFileError:
            return
        assert key.seed() == bytes.fromhex(content.removeprefix(b"\xef\xbb\xbf").decode())[:32]


class TestFileHazards:
    def test_no_file(self, tmp_path: Path) -> None:
        refused("No such file", tmp_path / "a.key")

    def test_a_directory(self, tmp_path: Path) -> None:
        refused("not a regular file", tmp_path)

    def test_a_file_in_place_of_a_directory(self, tmp_path: Path) -> None:
        refused("Not a directory", write(tmp_path / "a", "") / "a.key")

    def test_a_fifo_does_not_hang(self, tmp_path: Path) -> None:
        fifo = tmp_path / "a.key"
        os.mkfifo(fifo, 0o600)
        refused("not a regular file", fifo)

    def test_a_fifo_with_a_writer_is_not_read(self, tmp_path: Path) -> None:
        fifo = tmp_path / "a.key"
        os.mkfifo(fifo, 0o600)
        both_ends = os.open(fifo, os.O_RDWR)
        try:
            os.write(both_ends, SEED.hex().encode())
            refused("not a regular file", fifo)
            assert os.read(both_ends, 100) == SEED.hex().encode()
        finally:
            os.close(both_ends)

    @pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
    def test_a_device(self, device: str) -> None:
        refused("not a regular file", Path(device))

    def test_no_path_at_all(self) -> None:
        with pytest.raises(KeyFileError, match="no valid path"):
            keys.load("a\0b")
        for path in (None, 5, b"/x"):
            with pytest.raises(VaultArgumentError, match="path"):
                keys.load(path)  # type: ignore[arg-type]
        with pytest.raises(KeyFileError):
            keys.load("x" * 5000)
        with pytest.raises(KeyFileError):
            keys.load("")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
    def test_open_to_others(self, tmp_path: Path, mode: int) -> None:
        error = refused(f"{mode:04o}", write(tmp_path / "a.key", SEED.hex(), mode))
        assert "chmod 600" in str(error)

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o500])
    def test_open_to_its_owner_alone(self, tmp_path: Path, mode: int, key: AgentKey) -> None:
        assert keys.load(write(tmp_path / "a.key", SEED.hex(), mode)) == key

    @pytest.mark.skipif(ROOT, reason="root may read every file")
    def test_unreadable(self, tmp_path: Path) -> None:
        refused("Permission denied", write(tmp_path / "a.key", SEED.hex(), 0o000))

    def test_a_link_is_followed(self, tmp_path: Path, key: AgentKey) -> None:
        write(tmp_path / "real", SEED.hex())
        (tmp_path / "a.key").symlink_to("real")
        assert keys.load(tmp_path / "a.key") == key

    def test_a_link_to_an_open_file(self, tmp_path: Path) -> None:
        write(tmp_path / "real", SEED.hex(), 0o644)
        (tmp_path / "a.key").symlink_to("real")
        refused("0644", tmp_path / "a.key")

    def test_a_link_that_leads_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "a.key").symlink_to("gone")
        refused("No such file", tmp_path / "a.key")

    def test_a_link_that_leads_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "a.key").symlink_to("a.key")
        refused("Too many levels", tmp_path / "a.key")

    @pytest.mark.skipif(not ROOT, reason="only root can give a file to someone else")
    @pytest.mark.parametrize("link", [False, True])
    def test_someone_elses(self, tmp_path: Path, link: bool) -> None:
        file = write(tmp_path / "real", SEED.hex())
        os.chown(file, 12345, -1)
        if link:
            (tmp_path / "a.key").symlink_to(file)
            file = tmp_path / "a.key"
        refused("user 12345", file)

    def test_the_owner_is_asked_of_the_open_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Neither root nor a second account is needed for this: we pretend to be another.
        file = write(tmp_path / "a.key", SEED.hex())
        if os.stat(file).st_uid == 0:
            os.chown(file, 12345, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        refused("belongs to user", file)
        monkeypatch.setattr(os, "geteuid", lambda: os.stat(file).st_uid)
        assert keys.load(file).seed() == SEED

    @pytest.mark.skipif(not ROOT, reason="only root can make a file of root's")
    def test_roots_own_is_trusted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: AgentKey
    ) -> None:
        file = write(tmp_path / "a.key", SEED.hex())
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
        assert keys.load(file) == key

    def test_no_descriptor_is_left_open(self, tmp_path: Path) -> None:
        good = write(tmp_path / "good", SEED.hex())
        open_to_all = write(tmp_path / "bad", SEED.hex(), 0o644)
        before = descriptors()
        for path in (good, open_to_all, tmp_path, tmp_path / "none", write(tmp_path / "x", "x")):
            for _ in range(5):
                try:
                    keys.load(path)
                except KeyFileError:
                    pass
        for n in range(5):
            keys.save(keys.generate(), tmp_path / f"new{n}")
            with pytest.raises(KeyFileError):
                keys.save(keys.generate(), tmp_path / f"new{n}")
        assert descriptors() == before


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=lambda mask: f"umask-{mask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestSave:
    def test_plain(self, tmp_path: Path, key: AgentKey) -> None:
        file = keys.save(key, tmp_path / "a.key")
        assert file == tmp_path / "a.key"
        assert file.read_text() == SEED.hex()
        assert keys.load(file) == key

    def test_encrypted(self, tmp_path: Path, key: AgentKey) -> None:
        file = keys.save(key, tmp_path / "a.key.enc", passphrase=PASSPHRASE)
        text = file.read_text()
        assert len(text) == 176
        assert SEED.hex() not in text
        assert unseal(text, PASSPHRASE) == SEED
        assert keys.load(file, passphrase=PASSPHRASE) == key

    def test_salt_and_nonce_are_fresh(self, tmp_path: Path, key: AgentKey) -> None:
        one = keys.save(key, tmp_path / "1", passphrase=PASSPHRASE).read_text()
        two = keys.save(key, tmp_path / "2", passphrase=PASSPHRASE).read_text()
        assert one[:32] != two[:32]
        assert one[32:80] != two[32:80]
        assert one[80:] != two[80:]

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seed=st.binary(min_size=32, max_size=32),
        passphrase=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
        salt=st.binary(min_size=16, max_size=16),
        nonce=st.binary(min_size=24, max_size=24),
    )
    @example(seed=bytes(32), passphrase=" \n", salt=bytes(16), nonce=bytes(24))
    def test_an_independent_reader_and_writer_agree(
        self, tmp_path: Path, seed: bytes, passphrase: str, salt: bytes, nonce: bytes
    ) -> None:
        for old in tmp_path.iterdir():
            old.unlink()
        ours = keys.save(AgentKey(Secret(seed)), tmp_path / "ours", passphrase=passphrase)
        assert unseal(ours.read_text(), passphrase) == seed
        theirs = write(tmp_path / "theirs", seal(seed, passphrase, salt, nonce))
        assert keys.load(theirs, passphrase=passphrase).seed() == seed

    def test_modes_whatever_the_umask(self, tmp_path: Path, key: AgentKey, umask: int) -> None:
        file = keys.save(key, tmp_path / "one/two/a.key")
        assert mode(file) == 0o600
        assert mode(tmp_path / "one/two") == mode(tmp_path / "one") == 0o700
        assert os.umask(umask) == umask  # not changed on the way, not even for a moment's end

    def test_a_directory_that_exists_keeps_its_mode(self, tmp_path: Path, key: AgentKey) -> None:
        home = tmp_path / "home"
        home.mkdir()
        home.chmod(0o755)
        keys.save(key, home / "a.key")
        assert mode(home) == 0o755

    @pytest.mark.parametrize("kind", ["file", "link", "dangling", "directory", "fifo"])
    def test_nothing_is_overwritten(self, tmp_path: Path, key: AgentKey, kind: str) -> None:
        file = tmp_path / "a.key"
        if kind == "file":
            write(file, "precious")
        elif kind == "link":
            file.symlink_to(write(tmp_path / "real", "precious"))
        elif kind == "dangling":
            file.symlink_to("gone")
        elif kind == "directory":
            file.mkdir()
        else:
            os.mkfifo(file)
        for passphrase in (None, PASSPHRASE):
            with pytest.raises(KeyFileError, match="exists already") as caught:
                keys.save(key, file, passphrase=passphrase)
            assert_hidden(caught.value)
        if kind in {"file", "link"}:
            assert file.read_text() == "precious"
        assert not (tmp_path / "gone").exists()

    def test_of_many_writers_one_wins(self, tmp_path: Path) -> None:
        made = [keys.generate() for _ in range(8)]
        won: list[AgentKey] = []
        start = threading.Barrier(8)

        def save(key: AgentKey) -> None:
            start.wait()
            try:
                keys.save(key, tmp_path / "deep/er/a.key")
            except KeyFileError:
                return
            won.append(key)

        threads = [threading.Thread(target=save, args=(key,)) for key in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert keys.load(tmp_path / "deep/er/a.key") == won[0]

    def test_a_write_that_fails_leaves_no_file(
        self, tmp_path: Path, key: AgentKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(KeyFileError, match="No space left") as caught:
            keys.save(key, tmp_path / "a.key", passphrase=PASSPHRASE)
        assert_hidden(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_the_file_is_synced_before_it_is_named_safe(
        self, tmp_path: Path, key: AgentKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            kind = os.fstat(descriptor).st_mode
            synced.append("directory" if stat.S_ISDIR(kind) else "file")
            if stat.S_ISREG(kind):
                assert os.fstat(descriptor).st_size == 64
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        keys.save(key, tmp_path / "a.key")
        assert synced == ["file", "directory"]

    @pytest.mark.parametrize(
        "name",
        ["a/b.key", "a\0b", "x" * 300, "a\0b/c"],
        ids=["under-a-file", "nul", "long", "nul2"],
    )
    def test_where_none_can_be_written(self, tmp_path: Path, key: AgentKey, name: str) -> None:
        write(tmp_path / "a", "")
        with pytest.raises(KeyFileError, match="cannot be written") as caught:
            keys.save(key, f"{tmp_path}/{name}", passphrase=PASSPHRASE)
        assert_hidden(caught.value)

    @pytest.mark.parametrize("empty", ["", Secret("")])
    def test_an_empty_passphrase_is_a_mistake(
        self, tmp_path: Path, key: AgentKey, empty: Secret | str
    ) -> None:
        with pytest.raises(VaultArgumentError, match="empty"):
            keys.save(key, tmp_path / "a.key", passphrase=empty)
        assert list(tmp_path.iterdir()) == []


class TestFind:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        write(tmp_path / "plain.key", SEED.hex())
        write(tmp_path / "sealed.key.enc", "00" * 88)
        write(tmp_path / "both.key", SEED.hex())
        write(tmp_path / "both.key.enc", "00" * 88)
        return tmp_path

    @pytest.mark.parametrize(
        ("agent", "passphrase", "file"),
        [
            ("plain", None, "plain.key"),
            ("plain", PASSPHRASE, "plain.key"),
            ("sealed", PASSPHRASE, "sealed.key.enc"),
            ("sealed", Secret(PASSPHRASE), "sealed.key.enc"),
            ("both", PASSPHRASE, "both.key.enc"),
        ],
    )
    def test_by_name(
        self, home: Path, agent: str, passphrase: Secret | str | None, file: str
    ) -> None:
        assert keys.find(agent, directory=home, passphrase=passphrase) == home / file
        assert keys.find(agent, directory=str(home), passphrase=passphrase) == home / file

    @pytest.mark.parametrize("passphrase", [None, "", Secret("")])
    @pytest.mark.parametrize("agent", ["sealed", "both"])
    def test_an_encrypted_key_needs_its_passphrase(
        self, home: Path, agent: str, passphrase: Secret | str | None
    ) -> None:
        with pytest.raises(KeyFileError, match="passphrase") as caught:
            keys.find(agent, directory=home, passphrase=passphrase)
        assert ("both.key'" in str(caught.value)) == (agent == "both")

    def test_none(self, home: Path) -> None:
        with pytest.raises(KeyFileError, match="does not exist") as caught:
            keys.find("nobody", directory=home, passphrase=PASSPHRASE)
        assert "ostiary vault agent add nobody" in str(caught.value)
        assert_hidden(caught.value)
        with pytest.raises(KeyFileError, match="does not exist"):
            keys.find("nobody", directory=home / "plain.key")
        with pytest.raises(KeyFileError, match="no valid path"):
            keys.find("nobody", directory="a\0b")

    def test_a_damaged_encrypted_key_is_not_passed_over(self, home: Path) -> None:
        (home / "plain.key.enc").symlink_to("gone")
        found = keys.find("plain", directory=home, passphrase=PASSPHRASE)
        assert found == home / "plain.key.enc"

    def test_an_explicit_path_wins_and_is_not_judged(self, home: Path) -> None:
        for path in (home / "plain.key", home / "nowhere", str(home / "../x")):
            found = keys.find("../any name", directory=home, key_path=path)
            assert found == Path(path)

    @pytest.mark.parametrize(
        "agent",
        [
            *("", ".", "..", "../plain", "/etc/passwd", "a/b", "a\\b", "a\0b", "plain\n", " plain"),
            *("~", "~root", "\u00e9", "a:b", "x" * 201, "a b", "plain.key/../plain"),
        ],
    )
    def test_no_name_climbs_out(self, home: Path, agent: str) -> None:
        with pytest.raises(VaultArgumentError, match="agent name"):
            keys.find(agent, directory=home)

    @pytest.mark.parametrize("agent", ["a", "A-1_b.c", "...", "-x", ".x", "x" * 200])
    def test_names_that_are_allowed(self, home: Path, agent: str) -> None:
        write(home / f"{agent}.key", SEED.hex())
        assert keys.find(agent, directory=home) == home / f"{agent}.key"

    @pytest.mark.parametrize("agent", [None, 5, b"plain"])
    def test_a_name_is_text(self, home: Path, agent: Any) -> None:
        with pytest.raises(VaultArgumentError, match="agent name"):
            keys.find(agent, directory=home)

    @given(st.text(st.characters()))
    def test_every_name_is_a_file_of_the_directory_or_refused(self, agent: str) -> None:
        try:
            path = keys.find(agent, directory="/no/such/directory")
        except VaultArgumentError:
            return
        except KeyFileError as error:
            path = Path(str(error.context["path"]))
        assert path == Path("/no/such/directory") / f"{agent}.key"
        assert path.parent == Path(os.path.normpath(path)).parent


class TestPassphrases:
    CALLS: tuple[Callable[[Path, Any], object], ...] = (
        lambda home, p: keys.load(home / "sealed", passphrase=p),
        lambda home, p: keys.save(keys.generate(), home / "sealed", passphrase=p),
        lambda home, p: keys.find("nobody", directory=home, passphrase=p),
        lambda home, p: keys.find("no/body", directory=home, passphrase=p),
        lambda home, p: keys.load(home / "open", passphrase=p),
        lambda home, p: keys.load(home / "none", passphrase=p),
        lambda home, p: keys.load(home, passphrase=p),
        lambda home, p: keys.load(home / "halves", passphrase=p),
        lambda home, p: keys.load(home / "short", passphrase=p),
        lambda home, p: keys.load(home / "wrong", passphrase=p),
        lambda home, p: keys.save(keys.generate(), home / "short/x", passphrase=p),
    )

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        write(tmp_path / "sealed", seal(SEED, "another passphrase"))
        write(tmp_path / "open", SEED.hex(), 0o644)
        write(tmp_path / "halves", (SEED + bytes(32)).hex())
        write(tmp_path / "short", SEED.hex()[:60])
        write(tmp_path / "wrong", SEED.hex()[:-1] + "g")
        return tmp_path

    @pytest.mark.parametrize("wrap", [str, Secret])
    @pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
    def test_no_error_and_no_frame_holds_one(
        self, home: Path, call: Callable[[Path, Any], object], wrap: Callable[[str], object]
    ) -> None:
        with pytest.raises(VaultError) as caught:
            call(home, wrap(PASSPHRASE))
        assert_hidden(caught.value, SEED[:30], SEED.hex()[:60])

    def test_one_of_a_wrong_type_is_hidden_all_the_same(self, home: Path) -> None:
        for call in self.CALLS:
            for wrong in ([PASSPHRASE], PASSPHRASE.encode(), {"passphrase": PASSPHRASE}):
                with pytest.raises(VaultArgumentError, match="a passphrase is a str") as caught:
                    call(home, wrong)
                assert PASSPHRASE not in recorded(caught.value)

    def test_a_seed_that_is_no_secret_is_hidden_all_the_same(self) -> None:
        for wrong in (SEED, SEED.hex(), Secret(SEED[:-1])):
            with pytest.raises(VaultArgumentError, match="Secret of 32 bytes") as caught:
                AgentKey(wrong)  # type: ignore[arg-type]
            *_, (frame, _) = traceback.walk_tb(caught.value.__traceback__)
            assert "seed" not in frame.f_locals

    @pytest.mark.parametrize("wrong", [5, 2.5, [], True, object()])
    def test_one_is_text(self, home: Path, wrong: Any) -> None:
        for call in self.CALLS:
            with pytest.raises(VaultArgumentError, match="passphrase"):
                call(home, wrong)

    def test_a_wiped_one_is_our_error(self, home: Path) -> None:
        secret = Secret(PASSPHRASE)
        secret.wipe()
        for call in self.CALLS:
            with pytest.raises(VaultArgumentError, match="wiped"):
                call(home, secret)

    def test_the_callers_secret_is_not_wiped(self, tmp_path: Path, key: AgentKey) -> None:
        secret = Secret(PASSPHRASE)
        file = keys.save(key, tmp_path / "a.key.enc", passphrase=secret)
        assert keys.load(file, passphrase=secret) == key
        assert secret.reveal() == PASSPHRASE
