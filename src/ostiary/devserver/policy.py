"""Policies: any enabled one that matches allows, the smallest ttl wins, otherwise deny.

Pure decisions; the clock is an argument. A condition that does not hold makes its policy
not match, and when nothing else matches, says why. Neighbour: `vault` acts on `Decision`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import translate
from typing import Final, final
from zoneinfo import ZoneInfo

import msgspec

from .faults import Refusal, denied, invalid, rate_limited

__all__ = ["ACTIONS", "Book", "Conditions", "Decision", "Policy", "TimeWindow", "Use"]

ACTIONS: Final = frozenset({"retrieve", "list", "use", "store", "delete", "rotate"})
DEFAULT_TTL: Final = 300
_HOUR: Final = 3600.0
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_CACHE_LIMIT = 50_000


class TimeWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the day, `start` included and `end` not; past midnight when end < start."""

    start: str = "00:00"
    end: str = "24:00"
    days: list[str] | None = None
    timezone: str = "UTC"


class Conditions(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What must also hold for a policy to match."""

    max_retrievals_per_hour: int | None = None
    max_uses_per_hour: int | None = None
    time_window: TimeWindow | str | None = None
    allowed_operations: list[str] | None = None
    allowed_domains: list[str] | None = None
    allowed_sign_algorithms: list[str] | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy as stored and shown."""

    name: str
    principal: str
    resources: list[str]
    actions: list[str]
    max_ttl: int = DEFAULT_TTL
    enabled: bool = True
    conditions: Conditions = Conditions()


class Use(msgspec.Struct, frozen=True):
    """What a `use` is about to do, as far as conditions care."""

    operation: str
    domain: str | None = None
    algorithm: str | None = None


class Decision(msgspec.Struct, frozen=True):
    """Allowed, by which policy and for how long; or the refusal to send."""

    policy: str
    ttl: int
    refusal: Refusal | None = None


@final
class Rule:
    """A policy made ready to ask."""

    def __init__(self, policy: Policy) -> None:
        _check(policy)
        self.policy = policy
        pattern = policy.principal.removeprefix("agent:")
        self._principal = re.compile(translate(pattern)).match
        self._resources = re.compile("|".join(translate(r) for r in policy.resources)).match
        conditions = policy.conditions
        self._window = _window(conditions.time_window)
        self._domains = (
            None
            if conditions.allowed_domains is None
            else re.compile(
                "|".join(translate(d.lower()) for d in conditions.allowed_domains) or "(?!)"
            )
        )
        self.unconditional = conditions == Conditions()
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def matches(self, agent: str, resource: str, action: str) -> bool:
        policy = self.policy
        return (
            policy.enabled
            and action in policy.actions
            and self._principal(agent) is not None
            and self._resources(resource) is not None
        )

    def objection(
        self, agent: str, action: str, use: Use | None, steady: float, wall: float
    ) -> tuple[str, float] | None:
        """Return why a condition does not hold, and in how many seconds it may, else None."""
        if self._window is not None and not self._window.holds(wall):
            return "outside the policy's time window", 0.0
        if use is not None and (reason := self._use_objection(use)):
            return reason, 0.0
        limit = self._limit(action)
        if limit is not None:
            calls = self._calls.get((agent, action))
            if limit == 0:
                return f"the policy allows no {action} at all", 0.0
            if calls is not None and len(calls) >= limit and steady - calls[0] < _HOUR:
                return f"{action} calls in an hour", calls[0] + _HOUR - steady
        return None

    def _limit(self, action: str) -> int | None:
        if action == "retrieve":
            return self.policy.conditions.max_retrievals_per_hour
        if action == "use":
            return self.policy.conditions.max_uses_per_hour
        return None

    def _use_objection(self, use: Use) -> str | None:
        conditions = self.policy.conditions
        allowed = conditions.allowed_operations
        if allowed is not None and use.operation not in allowed:
            return f"the policy does not allow the operation {use.operation}"
        if self._domains is not None:
            if use.domain is not None:
                if self._domains.match(use.domain.lower()) is None:
                    return "the policy does not allow this domain"
            elif use.operation == "http_header" and allowed is None:
                # A header handed out can be sent anywhere: a policy that names domains
                # must name this operation too.
                return "the policy allows domains, and http_header has none"
        algorithms = conditions.allowed_sign_algorithms
        if algorithms is not None and use.algorithm is not None and use.algorithm not in algorithms:
            return "the policy does not allow this algorithm"
        return None

    def count(self, agent: str, action: str, steady: float) -> None:
        """Remember an allowed call."""
        limit = self._limit(action)
        if limit:
            # The last `limit` calls are all that the next decision asks about.
            self._calls.setdefault((agent, action), deque(maxlen=limit)).append(steady)

    def forget(self, agent: str) -> None:
        for key in [key for key in self._calls if key[0] == agent]:
            del self._calls[key]


@final
class Book:
    """Every policy, and which of them concern whom."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._rules = {policy.name: Rule(policy) for policy in policies}
        self._cache: dict[tuple[str, str, str], tuple[Rule, ...]] = {}

    def policies(self) -> list[Policy]:
        return [rule.policy for rule in self._rules.values()]

    def __contains__(self, name: str) -> bool:
        return name in self._rules

    @staticmethod
    def prepare(policy: Policy) -> Rule:
        """Make a policy ready; raises `Refusal` when it makes no sense."""
        return Rule(policy)

    def put(self, rule: Rule) -> None:
        """Add a policy or replace the one of its name."""
        self._rules[rule.policy.name] = rule
        self._cache.clear()

    def remove(self, name: str) -> None:
        del self._rules[name]
        self._cache.clear()

    def forget(self, agent: str) -> None:
        """Drop what is remembered of an agent that is gone."""
        for rule in self._rules.values():
            rule.forget(agent)
        self._cache.clear()

    def _concerning(self, agent: str, resource: str, action: str) -> tuple[Rule, ...]:
        key = (agent, resource, action)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()  # resources are the peer's words: do not keep them all
            found = tuple(
                rule for rule in self._rules.values() if rule.matches(agent, resource, action)
            )
            self._cache[key] = found
        return found

    def decide(
        self,
        agent: str,
        resource: str,
        action: str,
        steady: float,
        wall: float,
        *,
        use: Use | None = None,
        count: bool = True,
    ) -> Decision:
        """Decide one call; with `count` an allowed one is held against the hourly limits."""
        best: Policy | None = None
        because: str | None = None
        wait = 0.0
        granted: list[Rule] = []
        for rule in self._concerning(agent, resource, action):
            if not rule.unconditional:
                objection = rule.objection(agent, action, use, steady, wall)
                if objection is not None:
                    # The soonest way out, if waiting is one.
                    reason, seconds = objection
                    if because is None or (seconds and (not wait or seconds < wait)):
                        because, wait = reason, seconds
                    continue
                granted.append(rule)
            if best is None or rule.policy.max_ttl < best.max_ttl:
                best = rule.policy
        if best is not None:
            if count:
                for rule in granted:
                    rule.count(agent, action, steady)
            return Decision(best.name, best.max_ttl)
        if wait:
            return Decision("", 0, rate_limited(because or "calls", wait))
        return Decision("", 0, denied(action, resource, because))


class _Window(msgspec.Struct, frozen=True):
    start: int  # minutes of the day
    end: int
    days: frozenset[int]
    zone: tzinfo

    def holds(self, wall: float) -> bool:
        now = datetime.fromtimestamp(wall, self.zone)
        minute = now.hour * 60 + now.minute
        if self.start < self.end:
            return self.start <= minute < self.end and now.weekday() in self.days
        # Past midnight: the small hours belong to the day before.
        if minute >= self.start:
            return now.weekday() in self.days
        return minute < self.end and (now - timedelta(days=1)).weekday() in self.days


def _window(value: TimeWindow | str | None) -> _Window | None:
    if value is None:
        return None
    if isinstance(value, str):
        start, dash, end = value.partition("-")
        if not dash:
            raise invalid("time_window is not like 09:00-17:00")
        value = TimeWindow(start=start.strip(), end=end.strip())
    days = frozenset(range(7))
    if value.days is not None:
        try:
            days = frozenset(_DAYS.index(day[:3].lower()) for day in value.days)
        except ValueError:
            raise invalid(f"time_window.days may hold {', '.join(_DAYS)}") from None
    zone: tzinfo
    if value.timezone == "UTC":
        zone = UTC
    else:
        try:
            zone = ZoneInfo(value.timezone)
        except (OSError, ValueError, KeyError):
            raise invalid("time_window.timezone is not known here; UTC always is") from None
    return _Window(_minutes(value.start), _minutes(value.end), days, zone)


def _minutes(text: str) -> int:
    if text == "24:00":
        return 24 * 60
    match = _CLOCK_TIME.fullmatch(text)
    if match is None:
        raise invalid("time_window.start and .end are times like 09:00")
    return int(match[1]) * 60 + int(match[2])


def _check(policy: Policy) -> None:
    if not policy.principal or not policy.resources or not policy.actions:
        raise invalid("a policy needs a principal, resources and actions")
    if not policy.name or len(policy.name) > 128 or not policy.name.isprintable():
        raise invalid("a policy's name has 1 to 128 printable characters")
    unknown = set(policy.actions) - ACTIONS
    if unknown:
        raise invalid(f"actions may hold {', '.join(sorted(ACTIONS))}")
    if not 0 < policy.max_ttl <= 366 * 24 * 3600:
        raise invalid("max_ttl is between 1 second and 366 days")
    for limit in (
        policy.conditions.max_retrievals_per_hour,
        policy.conditions.max_uses_per_hour,
    ):
        if limit is not None and not 0 <= limit <= 1_000_000:
            raise invalid("hourly limits are between 0 and 1000000")
