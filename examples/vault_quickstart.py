"""Retrieve, list and use a credential; needs `ostiary dev --demo` in another terminal."""

from __future__ import annotations

from ostiary.vault import VaultClient, VaultError


def main() -> None:
    with VaultClient("my-agent") as client:
        for entry in client.list():
            print(f"{entry.path}: {entry.description or entry.type}")

        # Lent until `close`, or until the block below ends.
        key = client.retrieve("openai/api_key")
        print(f"retrieved a key of {len(key)} characters")

        with client.lease("github/token", ttl=60) as lease:
            print(f"holding {lease.path} for {lease.ttl:.0f} seconds: {lease.value}")

        # The vault builds the header; nothing here ever held the token itself.
        header = client.http_header("github/token")
        print(f"header {header.name}: {header.value}")

        try:
            client.retrieve("no/such/path")
        except VaultError as error:
            print(f"{error.code}: {error}")


if __name__ == "__main__":
    main()
