"""The extension modules and how to compile them; all other metadata is in pyproject.toml.

Switches, by environment variable:

    OSTIARY_DEBUG=1               -O0 -g, Cython line tracing, bounds and None checks on
    OSTIARY_SANITIZE=address,...  -fsanitize=..., symbols kept
    OSTIARY_ANNOTATE=1            Cython's HTML report under build/cython
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("OSTIARY_DEBUG", "") not in {"", "0"}
SANITIZE = os.environ.get("OSTIARY_SANITIZE", "")
ANNOTATE = os.environ.get("OSTIARY_ANNOTATE", "") not in {"", "0"}

# Named one by one: a glob that finds nothing would build a wheel without a core.
MODULES = [
    "ostiary._io.aio",
    "ostiary._io.aio_http",
    "ostiary._io.aio_pool",
    "ostiary._io.blocking",
    "ostiary._io.blocking_http",
    "ostiary._io.blocking_pool",
    "ostiary._io.readers",
    "ostiary._io.sockets",
    "ostiary._io.stream",
    "ostiary._pool",
    "ostiary._wire.framer",
    "ostiary._wire.headers",
    "ostiary._wire.http1",
    "ostiary._wire.outbox",
    "ostiary._wire.parser",
    "ostiary._wire.request",
    "ostiary._wire.rpc",
    "ostiary._wire.slab",
    "ostiary._wire.sse",
    "ostiary._wire.target",
]

# What the modules have in common of Cython's own code, once instead of in each.
SHARED = "ostiary._cython"

if DEBUG or SANITIZE:
    compile_flags = ["-O0" if DEBUG else "-O1", "-g", "-fno-omit-frame-pointer"]
    link_flags = []
else:
    # -O3 makes them a tenth larger and no faster; -Os makes event streams 24 % slower.
    compile_flags = ["-O2", "-g0", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
    link_flags = ["-Wl,-dead_strip", "-Wl,-x"]
    if sys.platform == "linux":
        compile_flags.append("-fno-plt")
        link_flags = ["-Wl,-s", "-Wl,--gc-sections", "-Wl,-O1"]
if SANITIZE:
    compile_flags.append(f"-fsanitize={SANITIZE}")
    link_flags.append(f"-fsanitize={SANITIZE}")

setup(
    ext_modules=cythonize(
        [
            Extension(
                name,
                [f"src/{name.replace('.', '/')}{'.c' if name == SHARED else '.pyx'}"],
                define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
                extra_compile_args=compile_flags,
                extra_link_args=link_flags,
            )
            for name in [SHARED, *MODULES]
        ],
        # The generated C stays out of src/, and so out of every wheel.
        build_dir="build/cython",
        annotate=ANNOTATE,
        shared_utility_qualified_name=SHARED,
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": DEBUG,
            "initializedcheck": DEBUG,
            "nonecheck": DEBUG,
            "cdivision": True,
            "linetrace": DEBUG,
            # What is pickled says so itself: a tenth of the code was for pickles nobody makes.
            "auto_pickle": False,
        },
    ),
)
