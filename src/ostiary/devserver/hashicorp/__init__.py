"""A small HashiCorp Vault, for tests and for `ostiary dev --demo`: KV version 2 over HTTP.

It speaks the real server's API as far as it goes, and keeps everything in memory as the real
one's dev mode does. Neighbour: `ostiary.devserver.runtime.secrets` is a client of such servers.
"""
