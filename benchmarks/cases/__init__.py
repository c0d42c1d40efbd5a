"""What is measured, one module per kind of work. Each case runs in a process of its own.

A case is a function `(Work) -> Sample`. Neighbours: `catalogue` lists the cases, `child` runs one.
"""
