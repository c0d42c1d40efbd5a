"""Look for a response that we and h11 read differently without a rule that says why.

    python -m tests.http.fuzz_http1 [--cases N] [--seed S]

Every case is read five ways: whole, cut, streamed, through h11, through h11 streamed. A
parser that may be reused is. Exits 1 after printing what it found.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from ostiary._wire.parser import ResponseParser
from tests.http.generate import Generator
from tests.http.normal import DEFAULT, Limits, Normal, Refused, by_h11, by_us, complaint, parser_for

TIGHT = Limits(head=120, header_count=3, body=40, informational=2)
WAYS = [("strict", False), ("strict", True), ("h11", False), ("h11", True)]


class Tally(Counter[str]):
    """How the cases ended: `equal`, `both refuse`, or the name of the rule."""


def run(cases: int, seed: int, *, limit: int = 10) -> tuple[Tally, list[str]]:
    """Return the tally, and what nothing explains (at most `limit` of it)."""
    generator = Generator(seed)
    tally = Tally()
    found: list[str] = []
    kept: dict[tuple[str, bool, Limits], ResponseParser] = {}
    for number in range(cases):
        data, method = generator.case()
        oracle = by_h11(data, method)
        limits = TIGHT if number % 8 == 7 else DEFAULT
        ours: Normal | Refused | None = None
        for way, (parser_name, stream) in enumerate([("strict", False), *WAYS]):
            pieces = generator.cuts(data) if way else [data] * bool(data)
            key = (parser_name, stream, limits)
            parser = kept.pop(key, None) or parser_for(limits, parser_name)
            this = by_us(pieces, method, parser, stream=stream)
            said = complaint(this, data, oracle, limits)
            if said:
                found.append(f"case {number} {method} {data!r} in {pieces!r} by {key}: {said}")
                if len(found) >= limit:
                    return tally, found
            if isinstance(this, Normal) and this.reusable:
                kept[key] = parser
            ours = ours or this
        assert ours is not None
        tally[_kind(ours, oracle.normal)] += 1
    return tally, found


def _kind(ours: Normal | Refused, theirs: Normal | None) -> str:
    if isinstance(ours, Normal):
        return "equal, reusable" if ours.reusable else "equal, not reusable"
    return f"{'both refuse' if theirs is None else 'we refuse'}: {ours.rule}"


def main() -> int:
    """Run from the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--cases", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    tally, found = run(chosen.cases, chosen.seed)
    for kind, count in tally.most_common():
        print(f"{count:10,}  {kind}")
    print(f"{tally.total():10,}  cases of seed {chosen.seed}; {len(found)} unexplained")
    for one in found:
        print(one)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
