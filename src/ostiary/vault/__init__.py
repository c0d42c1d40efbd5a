"""Credentials for agents: leased, used without being seen, given back.

Speaks the SanctumAI protocol (docs/protocol.md); the names of its guide work here.
"""

from __future__ import annotations

from .. import __version__
from ._async import AsyncLease, AsyncVaultClient
from ._sync import Lease, VaultClient
from .errors import (
    CODE_TO_EXCEPTION,
    AccessDenied,
    AuthError,
    CredentialNotFound,
    KeyFileError,
    LeaseExpired,
    RateLimited,
    SessionExpired,
    VaultAPIError,
    VaultArgumentError,
    VaultConnectError,
    VaultConnectionLostError,
    VaultDeadlineError,
    VaultError,
    VaultLocked,
    VaultProtocolError,
    VaultSizeLimitError,
    VaultStateError,
    VaultTransportError,
)
from .models import (
    Ciphertext,
    Credential,
    HttpHeader,
    HttpResponse,
    LeaseInfo,
    Plaintext,
    Signature,
)

AsyncSanctumClient = AsyncVaultClient
SanctumClient = VaultClient

__all__ = [
    "CODE_TO_EXCEPTION",
    "AccessDenied",
    "AsyncLease",
    "AsyncSanctumClient",
    "AsyncVaultClient",
    "AuthError",
    "Ciphertext",
    "Credential",
    "CredentialNotFound",
    "HttpHeader",
    "HttpResponse",
    "KeyFileError",
    "Lease",
    "LeaseExpired",
    "LeaseInfo",
    "Plaintext",
    "RateLimited",
    "SanctumClient",
    "SessionExpired",
    "Signature",
    "VaultAPIError",
    "VaultArgumentError",
    "VaultClient",
    "VaultConnectError",
    "VaultConnectionLostError",
    "VaultDeadlineError",
    "VaultError",
    "VaultLocked",
    "VaultProtocolError",
    "VaultSizeLimitError",
    "VaultStateError",
    "VaultTransportError",
    "__version__",
]
