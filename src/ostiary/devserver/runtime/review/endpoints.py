"""The paths of the tool review.

Everything here is a shape; what is done stands in `sessions` and `keys`.
"""

from __future__ import annotations

from typing import Any, Final, final

import msgspec
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...http.front import Json
from ...http.reading import Body, Page
from ...http.routing import route
from ..context import Context
from . import sample
from .keys import ED25519, SigningKeys
from .sessions import Review, Sessions

__all__ = ["Reviews"]


class _Submission(msgspec.Struct, kw_only=True):
    tool: dict[str, Any]
    submitted_by: str
    priority: str = "normal"


class _Decision(msgspec.Struct, kw_only=True):
    decision: str
    reviewer_id: str
    comments: str | None = None


class _Claim(msgspec.Struct, kw_only=True):
    reviewer_id: str


class _Signing(msgspec.Struct, kw_only=True):
    review_id: str
    signing_key_id: str


class _NewKey(msgspec.Struct, kw_only=True):
    key_id: str | None = None
    algorithm: str = ED25519


_SUBMISSION: Final = Body(_Submission)
_DECISION: Final = Body(_Decision)
_CLAIM: Final = Body(_Claim)
_SIGNING: Final = Body(_Signing)
_NEW_KEY: Final = Body(_NewKey, empty=True)
_FIRST_KEY: Final = "local"


@final
class Reviews:
    """The tool review over HTTP."""

    def __init__(self, context: Context) -> None:
        self.keys = SigningKeys(context)
        self.sessions = Sessions(context, self.keys)

    def routes(self) -> list[BaseRoute]:
        return [
            route("POST", "/tool-review/sessions", self._submit),
            route("GET", "/tool-review/sessions", self._list),
            route("GET", "/tool-review/sessions/{id}", self._session),
            route("POST", "/tool-review/sessions/{id}/claim", self._claim),
            route("POST", "/tool-review/sessions/{id}/decisions", self._decide),
            route("GET", "/tool-review/sessions/{id}/decisions", self._decisions),
            route("GET", "/tool-review/analysis/{id}", self._analysis),
            route("GET", "/tool-review/queue", self._queue),
            route("GET", "/tool-review/stats", self._stats),
            route("POST", "/tool-review/sign", self._sign),
            route("GET", "/tool-review/signed/{id}", self._signed),
            route("GET", "/tool-review/keys", self._keys),
            route("POST", "/tool-review/keys", self._new_key),
            route("GET", "/tool-review/keys/{id}", self._key),
        ]

    def gauges(self) -> dict[str, int | float]:
        counts = self.sessions.counts()
        waiting = counts["pending_review"] + counts["under_review"]
        return {
            "reviews_total": sum(counts.values()),
            "reviews_pending": waiting,
            "tools_signed": counts["signed"],
        }

    async def start(self) -> None:
        # The published client can sign and cannot make a key.
        if self.keys.usable and not self.keys.all():
            self.keys.create(_FIRST_KEY)
        self.sessions.start()

    async def stop(self, grace: float) -> None:
        await self.sessions.stop()

    def load_demo(self) -> None:
        sample.load(self.sessions, self.keys)

    # -- sessions -------------------------------------------------------------

    async def _submit(self, request: Request) -> ASGIApp:
        body = await _SUBMISSION.read(request)
        review = self.sessions.submit(body.tool, body.submitted_by, body.priority)
        return Json(
            {
                "review_id": review.review_id,
                "status": review.status,
                "submitted_at": review.submitted_at,
                "estimated_completion": None,
            },
            status=201,
        )

    async def _list(self, request: Request) -> ASGIApp:
        status = request.query_params.get("status") or None
        author = request.query_params.get("author") or None
        return _page(request, self.sessions.newest(status, author))

    async def _queue(self, request: Request) -> ASGIApp:
        return _page(request, self.sessions.queue())

    async def _session(self, request: Request) -> ASGIApp:
        return Json(self.sessions.require(request.path_params["id"]).view())

    async def _claim(self, request: Request) -> ASGIApp:
        body = await _CLAIM.read(request)
        await self.sessions.analysed(request.path_params["id"])
        return Json(self.sessions.claim(request.path_params["id"], body.reviewer_id).view())

    async def _decide(self, request: Request) -> ASGIApp:
        body = await _DECISION.read(request)
        await self.sessions.analysed(request.path_params["id"])
        review = self.sessions.decide(
            request.path_params["id"], body.decision, body.reviewer_id, body.comments
        )
        assert review.verdict is not None
        return Json(
            {
                "review_id": review.review_id,
                "decision": review.verdict.decision,
                "status": review.status,
                "decided_at": review.verdict.decided_at,
            }
        )

    async def _decisions(self, request: Request) -> ASGIApp:
        verdict = self.sessions.require(request.path_params["id"]).verdict
        return Json([] if verdict is None else [verdict])

    async def _analysis(self, request: Request) -> ASGIApp:
        review = self.sessions.require_analysis(request.path_params["id"])
        assert review.analysis is not None
        return Json(
            {
                "analysis_id": review.analysis_id,
                "risk_score": review.analysis.risk_score,
                "findings": review.analysis.findings,
                "recommendations": review.analysis.recommendations,
                "completed_at": review.analysed_at,
            }
        )

    async def _stats(self, request: Request) -> ASGIApp:
        counts = self.sessions.counts()
        return Json({"total": sum(counts.values()), "by_status": counts})

    # -- signing --------------------------------------------------------------

    async def _sign(self, request: Request) -> ASGIApp:
        body = await _SIGNING.read(request)
        return Json(self.sessions.sign(body.review_id, body.signing_key_id))

    async def _signed(self, request: Request) -> ASGIApp:
        return Json(self.sessions.signed(request.path_params["id"]))

    async def _keys(self, request: Request) -> ASGIApp:
        return Json([one.view() for one in self.keys.all()])

    async def _new_key(self, request: Request) -> ASGIApp:
        body = await _NEW_KEY.read(request)
        return Json(self.keys.create(body.key_id, body.algorithm).view(), status=201)

    async def _key(self, request: Request) -> ASGIApp:
        return Json(self.keys.require(request.path_params["id"]).view())


def _page(request: Request, found: list[Review]) -> Json:
    page = Page(request)
    return Json(
        {
            "sessions": [one.view() for one in page.cut(found)],
            "pagination": page.pagination(len(found)),
        }
    )
