"""What agents know: texts in a vector store, found by similarity and made into context.

Neighbour: `ostiary.devserver.runtime.server` lists it among the runtime's groups.
"""
