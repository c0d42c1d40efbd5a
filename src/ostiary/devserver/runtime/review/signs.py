"""What the rules look for: patterns over plain text, and the words of parameters' names.

Plain text is one case, one width and single blanks (`reading.plain`). No pattern repeats a
repetition, so that none is slow on any text. Neighbour: `rules` says what they mean.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

__all__ = ["Pattern", "is_hidden", "mixes_scripts", "named", "repeats_repetition"]

Pattern = re.Pattern[str]


def _any(*alternatives: str) -> Pattern:
    return re.compile("|".join(f"(?:{one})" for one in alternatives))


# -- texts ----------------------------------------------------------------------------------

OVERRIDES: Final = _any(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}"
    r"\b(?:previous|prior|earlier|above|all|any|other|your|system|existing)\b.{0,40}"
    r"\b(?:instruction|rule|guideline|prompt|direction|polic|constraint|safet)",
    r"\bnew (?:system )?instructions\s?:",
)
SILENCE: Final = _any(
    r"\b(?:do not|don['’]?t|never|without|avoid)\b.{0,12}"
    r"\b(?:tell|inform|mention|show|reveal|notify|alert|ask)(?:ing)?\b.{0,40}\buser",
    r"\b(?:do not|don['’]?t|never)\b.{0,8}\blet the user (?:know|see)",
    r"\bkeep (?:this|it) (?:secret|hidden|confidential|between us)",
    r"\b(?:secretly|silently|covertly)\b.{0,40}\b(?:call|send|read|pass|include|copy|run)",
)
ADDRESSES_MODEL: Final = _any(
    r"<\s?/?\s?(?:important|system|instructions?|assistant|admin|secret)\b[^<>]{0,40}>",
    r"<\|(?:im_start|im_end|system|user|assistant|endoftext)",
    r"\[/?inst\]",
    r"###\s?(?:system|instruction|assistant)\b",
    r"\b(?:the |any )?(?:assistant|model|llm|ai|agent) (?:must|should|has to|needs to) "
    r"(?:always|never|first|now)\b",
    r"\byou (?:must|should|are required to|have to) (?:always|never|first|now)\b",
    r"\byou are now\b",
    r"\bpretend (?:to be|that you)\b",
)
SHADOWS: Final = _any(
    r"\binstead of (?:using |calling )?(?:the |any |all )?(?:other |another |\w{1,40} )tools?\b",
    r"\b(?:before|after|whenever|when) (?:using|calling|invoking) (?:the |any |every |all )"
    r"(?:other |another )?(?:\w{1,40} )?tools?\b",
    r"\balways (?:use|call|prefer|invoke) this tool\b",
    r"\b(?:do not|don['’]?t|never) (?:use|call|invoke) (?:the |any )?(?:other |another )",
)
MARKUP: Final = _any(
    r"<\s?(?:script|iframe|object|embed|img|svg|link|meta|form)\b",
    r"\bon(?:error|load|click)\s?=",
    r"!\[[^\]]{0,200}\]\(\s?https?:",
    r"\bjavascript:",
    r"\bdata:text/html",
)
CLAIMS_RIGHTS: Final = _any(
    r"\b(?:run|runs|running|execute|executes|operate|operates|act|acts)\b.{0,30}"
    r"\b(?:as|with)\b.{0,12}\b(?:root|administrator|admin|superuser|elevated|system privileges)\b",
    r"\bsudo\b",
    r"--privileged\b",
    r"\bsetuid\b",
    r"\b(?:bypass|circumvent|evade|work around|skip)(?:es|s|ing)?\b.{0,30}"
    r"\b(?:auth|permission|security|access control|sandbox|polic|approval|review|firewall)",
    r"\b(?:escalat\w{1,6} privileges?|privilege escalation)\b",
    r"\bdisabl(?:e|es|ing)\b.{0,30}\b(?:tls|ssl|certificate|verification|audit|logging|antivirus)",
)
PRIVATE_CONTEXT: Final = _any(
    r"\b(?:conversation|chat|message) history\b",
    r"\b(?:all|previous|prior|entire|full|whole) (?:the )?(?:conversation|messages|chat|context)\b",
    r"\bsystem prompt\b",
    r"\b(?:all |your |the )?environment variables\b",
    r"\bcontents? of (?:all|every|any) files?\b",
)
PRIVATE_FILES: Final = _any(
    r"(?:~|/home/\w{1,40}|/root)/\.(?:ssh|aws|gnupg|kube|docker|netrc|config/gcloud)",
    r"\bid_(?:rsa|ed25519|ecdsa|dsa)\b",
    r"/etc/(?:passwd|shadow|sudoers)\b",
    r"\.aws/credentials\b",
    r"(?:^|[\s/`'\"])\.(?:env|netrc|npmrc|pypirc)\b",
    r"\bmcp\.json\b",
    r"\bcookies\.sqlite\b",
    r"\blogin\.keychain",
)
DESTRUCTIVE: Final = _any(
    r"\brm\s-[a-z]{0,6}(?:rf|fr)[a-z]{0,6}\b",
    r"\brm\s-r\s-f\b|\brm\s-f\s-r\b",
    r"\b(?:curl|wget)\b[^|]{1,200}\|\s?(?:sudo\s)?(?:ba|z|da|k)?sh\b",
    r"/dev/(?:tcp|udp)/",
    r"\b(?:nc|ncat|netcat)\s.{0,60}-[a-z]{0,4}e\b",
    r"\bbash\s-i\b",
    r":\(\)\s?\{\s?:",
    r"\bmkfs(?:\.\w{1,8})?\s",
    r"\bdd\s.{0,80}of=/dev/",
    r"\bchmod\s(?:-r\s)?0?777\s/",
    r"\bpowershell\b.{0,60}\s-(?:e|enc|encodedcommand)\b",
    r"\bdrop\s(?:table|database)\b",
)
RUNS_CODE: Final = _any(
    r"\b(?:execut|evaluat|run)(?:e|es|ing|s|ning)?\b.{0,12}"
    r"\b(?:arbitrary|any|given|provided|supplied|user|shell|system|bash|python|javascript|raw)\b"
    r".{0,24}\b(?:command|code|script|expression|program|binary)s?\b",
    r"\b(?:os\.system|subprocess|eval|exec|child_process|popen)\s?\(",
)
ENDLESS: Final = _any(
    r"\b(?:infinite|endless|never.ending)(?:ly)?\b.{0,16}\b(?:loop|retry|retries|recursion|call)",
    r"\b(?:loop|retry|retries|repeat|repeats|poll|polls)\b.{0,24}\b(?:forever|indefinitely|endlessly)",
    r"\bcalls? (?:itself|this tool again)\b.{0,40}\b(?:recursive|until|forever|repeated)",
    r"\brecursively (?:call|invoke)s? (?:itself|this tool)\b",
    r"\bfork bomb\b",
    r"\b(?:mine|mining)\b.{0,12}\b(?:crypto|bitcoin|monero)",
)
CRAFTED: Final = _any(
    r"[;&|]\s?(?:rm|cat|curl|wget|sh|bash|nc|python|perl|powershell|chmod|id|whoami)\b",
    r"\$\([^)]{1,80}\)",
    r"`[^`]{1,80}`",
    r"\$\{(?:jndi|env|sys|lower):",
    r"(?:\.\./){2}|(?:\.\.\\){2}",
    r"['\"]\s?or\s['\"]?\w{1,8}['\"]?\s?=\s?['\"]?\w{1,8}",
    r"\bunion\s(?:all\s)?select\b",
    r"<\s?script\b",
    r"\{\{.{1,80}\}\}",
    r"%0[ad0]",
)
# As written: their case matters.
KEYS: Final = _any(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[0-9A-Za-z]{36}",
    r"\bgithub_pat_[0-9A-Za-z_]{22}",
    r"\bsk-(?:proj-|ant-)?[0-9A-Za-z_-]{20}",
    r"\bxox[abprs]-[0-9A-Za-z-]{10}",
    r"\bAIza[0-9A-Za-z_-]{35}",
    r"\bhvs\.[0-9A-Za-z_-]{20}",
    r"-----BEGIN (?:[A-Z]{1,10} )?PRIVATE KEY-----",
    r"\beyJ[0-9A-Za-z_-]{10,2000}\.eyJ[0-9A-Za-z_-]{10,2000}\.[0-9A-Za-z_-]{10}",
    r"\b[a-z]{2,12}://[^\s/:@]{1,64}:[^\s/:@]{3,64}@",
)
ENCODED: Final = _any(r"[0-9A-Fa-f]{160}", r"[0-9A-Za-z+/]{160}")
HTTPS_NAME: Final = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?/", re.I
)

# -- words of names -------------------------------------------------------------------------

RIGHTS: Final = (
    *("sudo", "superuser", "privileged", "elevated", "setuid", "impersonate", "runas"),
    *("run as", "as admin", "as root", "as user", "is admin", "on behalf of", "escalate"),
)
ROLES: Final = ("role", "roles", "permission", "permissions", "scope", "scopes", "privilege")
SWITCHES: Final = (
    *("insecure", "unsafe", "dangerously", "skip verify", "no verify", "skip validation"),
    *("skip check", "skip checks", "skip auth", "skip tls", "skip ssl", "ignore ssl"),
    *("ignore tls", "ignore certificate", "ignore errors", "disable ssl", "disable tls"),
    *("disable auth", "disable security", "disable sandbox", "disable logging", "disable audit"),
    *("bypass", "no confirm", "skip confirm", "skip confirmation", "auto approve", "no sandbox"),
    *("allow all", "trust all"),
)
CHECKS: Final = ("verify", "validate", "sandbox", "check", "confirm", "audit", "authenticate")
SECRETS: Final = (
    *("password", "passwd", "passphrase", "secret", "apikey", "api key", "access key"),
    *("private key", "signing key", "encryption key", "ssh key", "token", "credential"),
    *("credentials", "cookie", "cookies", "otp", "mnemonic", "seed phrase", "bearer"),
)
# Names of secrets and of pages are what should be asked for instead.
NO_SECRETS: Final = (
    *("page token", "next token", "continuation token", "sync token", "cursor token"),
    *("token type", "token count", "token limit", "secret name", "secret id", "secret ref"),
    *("credential name", "credential id", "credential ref", "credentials ref", "token id"),
    *("token name", "password policy", "password length"),
)
PERSONAL: Final = (
    *("ssn", "social security", "credit card", "card number", "cvv", "cvc", "iban", "passport"),
    *("date of birth", "birth date", "birthdate", "medical", "diagnosis", "tax id"),
)
PATHS: Final = (
    *("path", "paths", "file", "files", "filename", "filepath", "dir", "directory", "folder"),
    *("pathname", "file name", "working directory", "cwd"),
)
NO_PATHS: Final = (
    *("file type", "file types", "file format", "file size", "file id", "file extension"),
    *("file count", "file kind", "file encoding", "file mode", "path type", "path style"),
)
ADDRESSES: Final = (
    *("url", "urls", "uri", "endpoint", "webhook", "callback", "host", "hostname", "domain"),
    *("server", "proxy", "ip"),
)
RECIPIENTS: Final = ("recipient", "recipients", "email to", "send to", "to address", "bcc", "cc")
COMMANDS: Final = (
    *("command", "commands", "cmd", "shell", "script", "bash", "powershell", "eval", "exec"),
    *("shellcode", "commandline", "command line", "subprocess"),
)
CODE: Final = (
    *("code", "source code", "expression", "expr", "formula", "template", "program"),
    *("python", "javascript", "snippet", "lambda", "function body", "args", "arguments"),
)
QUERIES: Final = ("sql", "cypher", "where clause", "raw query", "sparql")
AMOUNTS: Final = (
    *("count", "limit", "amount", "iterations", "repeat", "repeats", "retries", "attempts"),
    *("threads", "workers", "concurrency", "parallelism", "timeout", "duration", "depth", "size"),
    *("width", "height", "pages", "max results", "top k", "memory", "budget", "delay", "times"),
)


def named(words: tuple[str, ...], wanted: Iterable[str]) -> bool:
    """Whether any of the wanted words, or words in a row, is in a name."""
    joined = f" {' '.join(words)} "
    return any(f" {one} " in joined for one in wanted)


# -- letters --------------------------------------------------------------------------------

_FINE: Final = frozenset("\n\r\t")
# They shape emoji and the letters of some scripts, and stand in honest text.
_SHAPING: Final = frozenset("\N{ZERO WIDTH JOINER}\N{VARIATION SELECTOR-16}\N{SOFT HYPHEN}")
_ALIKE: Final = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")


def is_hidden(letter: str) -> bool:
    """Whether a character is there and not seen, or reorders what is seen."""
    if letter.isprintable() or letter in _FINE or letter in _SHAPING:
        # Selectors beyond the first sixteen have no use but to carry hidden bytes.
        return "\U000e0100" <= letter <= "\U000e01ef"
    return unicodedata.category(letter) in {"Cc", "Cf", "Co"}


def mixes_scripts(name: str) -> bool:
    """Whether one word has letters of several alphabets that look alike."""
    for word in re.findall(r"[^\W\d_]+", name[:512]):
        scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
        if len(scripts.intersection(_ALIKE)) > 1:
            return True
    return False


# -- patterns -------------------------------------------------------------------------------


def repeats_repetition(pattern: str) -> bool:
    """Whether a regular expression repeats, without limit, what itself repeats without limit.

    A reading of brackets and repetitions alone: it may take a harmless one for costly, which
    its confidence says, and asks nothing of the text it would be applied to.
    """
    # For each open group, whether something in it is repeated without limit.
    groups: list[bool] = [False]
    closed = False  # whether a group has just ended that repeats inside
    at, size = 0, min(len(pattern), 4_000)
    while at < size:
        letter = pattern[at]
        repeated = closed
        closed = False
        if letter == "\\":
            at += 2
            continue
        if letter == "[":
            at = _after_set(pattern, at)
            continue
        if letter == "(":
            groups.append(False)
        elif letter == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
        elif letter in "*+" or (letter == "{" and _unlimited(pattern, at)):
            if repeated:
                return True
            groups[-1] = True
        at += 1
    return False


def _after_set(pattern: str, at: int) -> int:
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    at += 1  # a bracket that stands first is one of the set
    while at < len(pattern) and pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1


def _unlimited(pattern: str, at: int) -> bool:
    return re.match(r"\{[0-9]{1,9},\}", pattern[at : at + 16]) is not None
