"""The review of tools before agents may use them: analysis, a human's decision, a signature.

Neighbour: `ostiary.devserver.runtime.server` lists it among the runtime's groups.
"""
