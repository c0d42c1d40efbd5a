"""The embedded governance service: it decides, carries out, remembers and streams.

Neighbours: `ostiary.devserver.http` carries it, the vault keeps its secrets.
"""
