"""Agent keys: made, stored and read in the formats vault clients share.

A key file is refused when anyone but its owner could have read or replaced it, and no file is
ever overwritten. Seeds and passphrases live in `Secret`s and are revealed inside a single
expression, so that the locals a traceback records never hold one. Nothing here opens a socket.
"""

from __future__ import annotations

import binascii
import os
import re
import stat
from typing import TYPE_CHECKING, Final, NoReturn, SupportsIndex, final

from .._api_key import Unusable, hidden_text
from ..errors import InvalidArgumentError, SecretExposureError
from ..secret import Secret
from .errors import KeyFileError, VaultArgumentError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AgentKey", "find", "generate", "load", "passphrase_of", "save"]

# nacl, hashlib and pathlib are imported where they are used: together they cost more
# than the rest of this package, and `import ostiary.vault` must not pay for a key that is
# never loaded.

_SEED: Final = 32
_EXPANDED: Final = 64  # the seed, then the public key

# The encrypted form: salt, nonce, then a secretbox, whose tag comes before its ciphertext.
# Salt size, rounds and cipher are fixed: the format has no header to announce others in.
_SALT: Final = 16
_NONCE: Final = 24
_BOX: Final = 16 + _SEED
_ENCRYPTED: Final = _SALT + _NONCE + _BOX
_ROUNDS: Final = 100_000

# The longest form is 176 digits; the rest is room for white space.
_MAX_FILE_BYTES: Final = 4096
_UTF8_BOM: Final = b"\xef\xbb\xbf"

_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")

_GIVE_A_PASSPHRASE: Final = "give passphrase=, or set OSTIARY_VAULT_PASSPHRASE"


@final
class AgentKey:
    """An agent's Ed25519 key pair. It signs; it shows only its public half."""

    __slots__ = ("_expanded", "_public_key")

    def __init__(self, seed: Secret) -> None:
        """Take the 32-byte seed; `generate` and `load` are the usual ways here."""
        if not isinstance(seed, Secret) or len(seed.reveal_bytes()) != _SEED:
            del seed  # a key all the same, and a traceback records the locals
            raise VaultArgumentError(f"an agent key is made from a Secret of {_SEED} bytes")
        self._expanded = _expand(seed)
        self._public_key = self._expanded.reveal_bytes()[_SEED:]

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that a vault registers for the agent."""
        return self._public_key

    @property
    def public_key_hex(self) -> str:
        """The public key as 64 lower-case hex digits."""
        return self._public_key.hex()

    def seed(self) -> Secret:
        """Return the private half, to be kept elsewhere than in a key file."""
        return Secret(self._expanded.reveal_bytes()[:_SEED])

    def sign(self, challenge: bytes | bytearray | memoryview) -> bytes:
        """Return the 64-byte detached Ed25519 signature of exactly these bytes.

        Whoever may choose the challenge may have anything signed: the client checks its
        length before it comes here.
        """
        if not isinstance(challenge, (bytes, bytearray, memoryview)):
            raise VaultArgumentError(
                f"a challenge is bytes, not {type(challenge).__name__}; decode its hex first"
            )
        from nacl.bindings import crypto_sign

        return crypto_sign(bytes(challenge), self._expanded.reveal_bytes())[:64]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AgentKey):
            return self._public_key == other._public_key
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._public_key)

    def __repr__(self) -> str:
        return f"AgentKey(public_key={self.public_key_hex!r})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # Copying goes through here as well.
        raise SecretExposureError(
            "an AgentKey is neither pickled nor copied; send its path and load it there"
        )


def generate() -> AgentKey:
    """Make a new key from the system's randomness."""
    return AgentKey(Secret(os.urandom(_SEED)))


def find(
    agent_name: str,
    *,
    directory: str | os.PathLike[str],
    key_path: str | os.PathLike[str] | None = None,
    passphrase: Secret | str | None = None,
) -> Path:
    """Return the key file to load for an agent; nothing is opened.

    An explicit `key_path` is taken as it is. Else `NAME.key.enc` in `directory` when it
    exists, else `NAME.key`. An encrypted key without a passphrase is a `KeyFileError` even
    when a plain file stands beside it: which of the two is current cannot be guessed.
    """
    kept = hidden_text(passphrase)
    del passphrase  # a traceback records the locals
    secret = passphrase_of(kept)
    if key_path is not None:
        return _expand_user(key_path)
    if (
        not isinstance(agent_name, str)
        or not _AGENT_NAME.fullmatch(agent_name)
        or agent_name in {".", ".."}
    ):
        raise VaultArgumentError(
            f"agent name {agent_name!r} cannot name a key file: only letters, digits, '.', '_' "
            "and '-' can, 200 at most; rename the agent or give key_path="
        )
    home = _expand_user(directory)
    encrypted, plain = home / f"{agent_name}.key.enc", home / f"{agent_name}.key"
    if _exists(encrypted):
        if secret:
            return encrypted
        other = f", or key_path={str(plain)!r} to use the plain one" if _exists(plain) else ""
        raise _refused(encrypted, "is encrypted", _GIVE_A_PASSPHRASE + other)
    if _exists(plain):
        return plain
    raise _refused(
        plain,
        "does not exist, nor does its .enc form",
        f"register the agent with `ostiary vault agent add {agent_name}`, or give key_path=",
    )


def load(path: str | os.PathLike[str], *, passphrase: Secret | str | None = None) -> AgentKey:
    """Read a key file: hex of a seed, of an expanded key, or of an encrypted seed.

    The form is told by its length, not by the file's name. `passphrase` is used for the
    encrypted form alone. Raises `KeyFileError`, which names the file and what to do.
    """
    kept = hidden_text(passphrase)
    del passphrase
    secret = passphrase_of(kept)
    file = _expand_user(path)
    blob = _decode(_read(file))
    if blob is None:
        raise _refused(
            file, "is not hex text", "a key file holds 64, 128 or 176 hex digits and no more"
        )
    size = len(blob.reveal_bytes())
    if size == _SEED:
        return AgentKey(blob)
    if size == _EXPANDED:
        key = AgentKey(Secret(blob.reveal_bytes()[:_SEED]))
        if key.public_key != blob.reveal_bytes()[_SEED:]:
            raise _refused(
                file,
                "holds a seed and a public key that do not belong together",
                "restore it from a copy, or make a new key",
            )
        return key
    if size == _ENCRYPTED:
        if not secret:
            raise _refused(file, "is encrypted", _GIVE_A_PASSPHRASE)
        seed = _unseal(blob, secret)
        if seed is None:
            raise _refused(
                file, "does not open with this passphrase", "check the passphrase and the file"
            )
        return AgentKey(seed)
    raise _refused(
        file,
        f"holds {size} bytes in hex",
        f"a key has {_SEED} (plain), {_EXPANDED} (expanded) or {_ENCRYPTED} (encrypted)",
    )


def save(
    key: AgentKey,
    path: str | os.PathLike[str],
    *,
    passphrase: Secret | str | None = None,
) -> Path:
    """Write a new key file, encrypted when a passphrase is given; return its path.

    The file is readable by its owner alone, and so is each directory made on the way to it.
    A file that exists is never touched. The client looks for `NAME.key`, or `NAME.key.enc`
    for the encrypted form.
    """
    kept = hidden_text(passphrase)
    del passphrase
    secret = passphrase_of(kept)
    if secret is not None and not secret:
        raise VaultArgumentError("the passphrase is empty; leave it out to write a plain file")
    file = _expand_user(path)
    text = _encode(key.seed() if secret is None else _seal(key.seed(), secret))
    try:
        _make_private(file.parent)
        _write_new(file, text)
    except FileExistsError as error:
        raise _refused(
            file, "exists already", "choose another path; no key file is overwritten"
        ) from error
    except (OSError, ValueError) as error:
        raise _unusable(file, "cannot be written", error) from error
    return file


def passphrase_of(kept: Secret | Unusable | None) -> Secret | None:
    """Return a copy of what `hidden_text` made of a passphrase.

    Raises `VaultArgumentError` for what is no text, and for a `Secret` that was wiped.
    """
    if kept is None:
        return None
    if isinstance(kept, Unusable):
        raise VaultArgumentError(f"a passphrase {kept.problem}")
    try:
        return Secret(kept)
    except InvalidArgumentError as error:
        raise VaultArgumentError(error.message) from None


def _expand(seed: Secret) -> Secret:
    from nacl.bindings import crypto_sign_seed_keypair

    return Secret(crypto_sign_seed_keypair(seed.reveal_bytes())[1])


def _decode(text: Secret) -> Secret | None:
    try:
        return Secret(binascii.unhexlify(text.reveal_bytes().removeprefix(_UTF8_BOM).strip()))
    except ValueError:
        return None


def _encode(blob: Secret) -> Secret:
    return Secret(binascii.hexlify(blob.reveal_bytes()))


def _derive(passphrase: Secret, salt: bytes) -> Secret:
    import hashlib

    return Secret(hashlib.pbkdf2_hmac("sha256", passphrase.reveal_bytes(), salt, _ROUNDS, dklen=32))


def _seal(seed: Secret, passphrase: Secret) -> Secret:
    from nacl.secret import SecretBox

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return Secret(
        salt
        + SecretBox(_derive(passphrase, salt).reveal_bytes()).encrypt(seed.reveal_bytes(), nonce)
    )


def _unseal(blob: Secret, passphrase: Secret) -> Secret | None:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    salt = blob.reveal_bytes()[:_SALT]
    try:
        return Secret(
            SecretBox(_derive(passphrase, salt).reveal_bytes()).decrypt(blob.reveal_bytes()[_SALT:])
        )
    except CryptoError:
        # The caller raises, outside this handler: the frames of nacl hold the derived key.
        return None


def _expand_user(path: str | os.PathLike[str]) -> Path:
    try:
        from pathlib import Path

        return Path(os.path.expanduser(os.fspath(path)))
    except TypeError:
        pass
    raise VaultArgumentError(f"a path is a str or a Path, not {type(path).__name__}")


def _exists(file: Path) -> bool:
    try:
        # lstat: a link whose target is gone is a damaged key and not an absent one.
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise _unusable(file, "cannot be looked up", error) from error
    return True


def _read(file: Path) -> Secret:
    try:
        # O_NONBLOCK: a FIFO in place of a key must not hang the caller.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unusable(file, "cannot be opened", error) from error
    try:
        # Of what was opened, wherever a link led: a path can be swapped in between.
        _check_owner(file, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as stream:
            content = Secret(stream.read(_MAX_FILE_BYTES + 1))
    except OSError as error:
        raise _unusable(file, "cannot be read", error) from error
    finally:
        os.close(descriptor)
    if len(content.reveal_bytes()) > _MAX_FILE_BYTES:
        raise _refused(file, "is too long for a key file", "check the path")
    return content


def _check_owner(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(file, "is not a regular file", "check the path")
    if status.st_uid not in {os.geteuid(), 0}:
        raise _refused(
            file,
            f"belongs to user {status.st_uid}, who could have replaced it",
            "use a key file of your own",
        )
    if status.st_mode & 0o077:
        raise _refused(
            file,
            f"is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"run `chmod 600 {str(file)!r}`; if others may have read it, make a new key",
        )


def _make_private(directory: Path) -> None:
    missing: list[Path] = []
    while not directory.exists() and directory != directory.parent:
        missing.append(directory)
        directory = directory.parent
    for each in reversed(missing):
        try:
            each.mkdir(0o700)
        except FileExistsError:
            continue  # made by someone else meanwhile, whose mode it is
        each.chmod(0o700)  # a umask may have taken away more than others' bits


def _write_new(file: Path, text: Secret) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(text.reveal_bytes())
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        # Half a key would be found by the next run and could not be told from a damaged one.
        os.unlink(file)
        raise
    try:
        directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError:
        pass  # the key is whole; only its name may be lost if the machine stops right now


def _refused(file: Path, what: str, advice: str) -> KeyFileError:
    return KeyFileError(
        f"key file {str(file)!r} {what}; {advice}",
        suggestion=advice,
        context={"path": str(file)},
    )


def _unusable(file: Path, what: str, error: OSError | ValueError) -> KeyFileError:
    # Of a ValueError only the fact: it is about the path's own characters.
    reason = error.strerror if isinstance(error, OSError) else None
    return _refused(file, f"{what}: {reason or 'no valid path'}", "check the path and its owner")
