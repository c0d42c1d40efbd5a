"""P7: payloads out of a buffer that holds many frames, CPU per frame in nanoseconds.

A pass keeps every payload until its end, as a caller that decodes them would.
"""

from __future__ import annotations

from ..sample import Sample, Stopwatch, Unavailable, Work
from . import native

READ = 64 * 1024


def _buffer(work: Work) -> tuple[bytes, int, int]:
    """Return a buffer, how many frames it holds, and how many passes make up the work."""
    size = int(work.options["size"])
    # About 4 MiB at most, and no fewer than 64 frames.
    frames = max(64, min(1000, (4 << 20) // size))
    frame = size.to_bytes(4, "big") + b"x" * size
    return frame * frames, frames, max(1, work.count // frames)


def c_floor(work: Work) -> Sample:
    """The walk over the length prefixes alone; nothing is copied."""
    _, frames, passes = _buffer(work)
    return native.run(work, "frames", work.options["size"], frames, passes)


def _slices(buffer: bytes) -> list[bytes]:
    frames: list[bytes] = []
    at = 0
    while len(buffer) - at >= 4:
        size = int.from_bytes(buffer[at : at + 4], "big")
        if len(buffer) - at - 4 < size:
            break
        frames.append(buffer[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def python(work: Work) -> Sample:
    """Slices of a bytes object, the way it is written by hand."""
    buffer, frames, passes = _buffer(work)
    for _ in range(passes // 10 + 1):
        assert len(_slices(buffer)) == frames
    watch = Stopwatch()
    watch.start()
    for _ in range(passes):
        _slices(buffer)
    return watch.sample(passes * frames, "ns")


def framer(work: Work) -> Sample:
    """`Framer.feed` of the whole buffer; with `reads`, of what a socket would give at a time."""
    try:
        from ostiary._wire.framer import Framer
    except ImportError as error:
        raise Unavailable(str(error)) from None

    buffer, frames, passes = _buffer(work)
    step = READ if work.options.get("reads") else len(buffer)
    reads = [buffer[at : at + step] for at in range(0, len(buffer), step)]
    splitter = Framer()
    for _ in range(passes // 10 + 1):
        assert sum(len(splitter.feed(read)) for read in reads) == frames
    feed = splitter.feed
    watch = Stopwatch()
    watch.start()
    for _ in range(passes):
        for read in reads:
            feed(read)
    sample = watch.sample(passes * frames, "ns")
    assert splitter.pending == 0
    return sample
