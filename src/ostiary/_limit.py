"""How many requests a server should have at once, learned from its answers alone.

No clock, no lock, no waiting: `_io/gate` has those. docs/limits.md tells the rule in words and
where its parts come from. Times are seconds.
"""

from __future__ import annotations

import math
from typing import Final, final

__all__ = ["OVERLOADED", "AdaptiveLimit"]

OVERLOADED: Final = frozenset({429, 503})
"""The statuses by which a server says that it has too much to do."""

_FIRST: Final = 8.0
_TOLERANCE: Final = 1.5  # how many times slower than usual is still no queue
_MUCH: Final = 3.0  # and how many times is much too slow, whatever else it may be
_LOWEST_CUT: Final = 0.5
_REFUSAL_CUT: Final = 0.7
_FASTER: Final = 0.75  # what half as many at once must bring, if they were the reason
_JUDGEMENTS_BETWEEN_DIPS: Final = 32
_MOST_ROUTES: Final = 256
_OTHERS: Final = ""

# Answers that make a judgement. Of those under way the quick ones come first, so that fewer
# than twice the limit would tell more of them than of the slow ones.
_FEWEST: Final = 8
_PER_LIMIT: Final = 2.0


@final
class _Route:
    """What is known of the calls of one kind: only like is compared with like."""

    __slots__ = (
        "count",
        "cut_short",
        "in_vain",
        "mean",
        "round",
        "squares",
        "suspected",
        "usual",
    )

    def __init__(self) -> None:
        self.accept(math.inf)
        self.begin(-1)

    def accept(self, usual: float) -> None:
        """Take `usual` for what an answer takes, and suspect nothing."""
        self.usual = usual
        self.trust()

    def trust(self) -> None:
        # The limit and mean at which slow answers were put down to too many at once, and how
        # often since then half as many did not make them faster.
        self.suspected: tuple[float, float] | None = None
        self.in_vain = 0

    def begin(self, round_: int) -> None:
        """Forget the answers that were not judged yet."""
        self.round = round_
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0
        self.cut_short = False

    def add(self, seconds: float) -> None:
        # Welford's way: a difference of two large sums would lose what it is asked for.
        self.count += 1
        off = seconds - self.mean
        self.mean += off / self.count
        self.squares += off * (seconds - self.mean)

    @property
    def doubt(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.squares / (self.count - 1) / self.count)


@final
class AdaptiveLimit:
    """The limit of one endpoint: at least 1, at most `most`, which may be raised.

    Each cut begins a new round, and only what was sent since is believed: the answers to what
    was sent before would bring about the same cut once more, each of them.
    """

    __slots__ = (
        "_dipped_from",
        "_full",
        "_judged",
        "_limit",
        "_rising",
        "_round",
        "_routes",
        "most",
    )

    def __init__(self, most: int) -> None:
        self.most = most
        self._limit = min(_FIRST, float(most))
        self._round = 0
        self._routes: dict[str, _Route] = {}
        # Whether as many as allowed were under way: a limit that was not reached is not proved.
        self._full = False
        self._rising = True  # until the first cut it doubles
        self._judged = 0
        self._dipped_from: float | None = None

    @property
    def now(self) -> int:
        """How many may be under way."""
        return int(self._limit)

    def sent(self, under_way: int) -> int:
        """Note a request, with which `under_way` are; return the round it belongs to."""
        if under_way >= self.now:
            self._full = True
        return self._round

    def forget_sent(self) -> int:
        """Believe no answer to what was sent so far; return the first round that counts."""
        self._begin(self._limit)
        return self._round

    def worth_sending(self, route: str, left: float) -> bool:
        """Whether an answer may be expected within `left` seconds."""
        known = self._routes.get(route)
        return known is None or known.usual == math.inf or left >= known.usual * _MUCH

    def answered(self, round_: int, route: str, seconds: float, status: int | None) -> None:
        """Note how a request of `round_` went; `status` is None when none came in time."""
        if round_ != self._round:
            return
        if status in OVERLOADED:
            self._cut(_REFUSAL_CUT)
            return
        known = self._routes.get(route)
        if known is None:
            if len(self._routes) >= _MOST_ROUTES:
                route = _OTHERS
            known = self._routes.setdefault(route, _Route())
        if known.round != round_:
            known.begin(round_)
        if status is None:
            if seconds <= known.usual:
                return
            # How much longer it would have taken nobody knows: it counts as much too slow.
            known.cut_short = True
            seconds = max(seconds, known.usual * _MUCH)
        elif not 200 <= status < 400:
            return  # to say no is quicker than to do it
        known.add(seconds)
        needed = max(_FEWEST, _PER_LIMIT * self._limit)
        slow = known.usual * _TOLERANCE * needed
        # Sooner, when those that are missing could not make up for those that came.
        if known.count >= needed or (known.count >= _FEWEST and known.count * known.mean > slow):
            self._judge(known)
            known.begin(self._round)

    def _judge(self, known: _Route) -> None:
        # The spread speaks for the server: it takes more than chance to be called slow.
        least, most = known.mean - known.doubt, known.mean + known.doubt
        certain = not known.cut_short
        if self._dipped_from is not None:
            if certain:
                known.accept(most)
            self._begin(self._dipped_from)
            return
        if certain and most < known.usual:
            known.usual = most
        self._judged += 1
        tolerated = known.usual * _TOLERANCE
        if least > tolerated:
            if certain and self._is_not_the_number(known):
                known.accept(most)
            else:
                self._cut(max(_LOWEST_CUT, tolerated / least))
            return
        known.trust()
        if self._full:
            self._go_on()

    def _is_not_the_number(self, known: _Route) -> bool:
        """Whether slow answers have another reason than how many were under way."""
        if self.now == 1:
            return True
        if known.suspected is None:
            known.suspected = self._limit, known.mean
        limit, mean = known.suspected
        if self._limit <= limit / 2:
            # Twice in a row: a server that is just slowing down fools the first comparison.
            known.in_vain = known.in_vain + 1 if known.mean > mean * _FASTER else 0
            known.suspected = self._limit, known.mean
        return known.in_vain == 2

    def _go_on(self) -> None:
        """Allow more, or now and then fewer for a moment, to see what an answer really takes."""
        if self._judged >= _JUDGEMENTS_BETWEEN_DIPS:
            limit, self._judged = self._limit, 0
            self._begin(limit / 2)
            self._dipped_from = limit
        else:
            more = self._limit if self._rising else math.sqrt(self._limit)
            self._limit = min(self._limit + more, float(self.most))
            self._full = False

    def _cut(self, factor: float) -> None:
        self._rising = False
        self._begin(self._limit * factor)

    def _begin(self, limit: float) -> None:
        self._limit = max(1.0, limit)
        self._round += 1
        self._full = False
        self._dipped_from = None
