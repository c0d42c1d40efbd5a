"""Use credentials that never leave the vault; starts an embedded one for itself."""

from __future__ import annotations

import base64
import hashlib
import hmac

from ostiary.devserver import running
from ostiary.vault import AccessDenied, VaultClient


def main() -> None:
    with running(tcp=False) as server:
        server.put("hook/key", "k1")
        server.put("notes/key", "any secret will do", type="password")
        key_file = server.add_agent("signer", allow=["hook/*", "notes/*"])

        with VaultClient("signer", socket_path=server.socket_path, key_path=key_file) as client:
            signature = client.sign("hook/key", "ping").signature
            print(f"signature of 'ping': {signature}")

            # Whoever receives it checks it with a copy of the key of their own.
            expected = base64.b64encode(hmac.digest(b"k1", b"ping", hashlib.sha256)).decode()
            print(f"as the receiver computes it: {hmac.compare_digest(signature, expected)}")

            sealed = client.encrypt("notes/key", "meet at noon")
            opened = client.decrypt("notes/key", sealed)
            print(f"sealed to {len(sealed.ciphertext)} characters, opens as: {opened.reveal()}")

            try:
                client.sign("payroll/key", "ping")
            except AccessDenied as error:
                print(f"denied: {error}; {error.suggestion}")


if __name__ == "__main__":
    main()
