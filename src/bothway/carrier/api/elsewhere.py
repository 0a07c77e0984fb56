"""Requests about what another carrier of the data folder has: they are handed to it, or asked of all.

Records are everybody's; what lives is its own carrier's alone. The id of a call says which that is. A conference lives
where its members' calls do, so it is looked for; lists of conferences are put together, and "all" means all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec

from bothway.carrier.api.conferences import ConferenceNames
from bothway.carrier.api.operations import Answer, Operation, Recorded, Request
from bothway.carrier.api.parameters import ApiError
from bothway.carrier.neighbours import Asked, Neighbours, NoNeighbourError, Told

__all__ = ["Elsewhere"]

logger = logging.getLogger(__name__)


class Elsewhere:
    """Finds who is to act.

    Args:
        neighbours: The other carriers.
    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours

    async def route(self, operation: Operation, request: Request, asked: Asked) -> Operation | Told:
        """What is to be done here, or another carrier's answer.

        Args:
            operation: What is asked for.
            request: The request.
            asked: The same, as it came.

        Raises:
            ApiError: The carrier that would have to act cannot be asked (503).
        """
        call_id = request.path.get("call_uuid") or request.path.get("request_uuid")
        if call_id is not None:
            return await self._by_owner(call_id, operation, asked)
        if operation.path in ("Call/", "Conference/") and operation.method == "DELETE":
            return replace(operation, act=self._everywhere(operation, asked))
        if operation.path == "Conference/":
            return replace(operation, act=self._together(operation, asked))
        if "conference_name" in request.path:
            return await self._where_it_is(operation, request, asked)
        return operation

    async def metrics(self, node: str) -> Told | None:
        """The metrics of the carrier with this number; None if that is this one, and 404 if there is none."""
        if node == str(self._neighbours.number):
            return None
        try:
            number = int(node) if node.isascii() and node.isdecimal() else 0
            return await self._neighbours.ask(number, Asked("GET", "/metrics", {}, b""))
        except NoNeighbourError as error:
            return Told(404, {"content-type": "text/plain; charset=utf-8"}, f"{error}\n".encode())

    async def _by_owner(self, call_id: str, operation: Operation, asked: Asked) -> Operation | Told:
        owner = self._neighbours.owner_of(call_id)
        if owner is None:
            return operation
        try:
            return await self._neighbours.ask(owner, asked)
        except NoNeighbourError as error:
            if operation.method == "GET":
                return operation  # from the records, which are everybody's
            raise _unavailable(error) from None

    async def _where_it_is(self, operation: Operation, request: Request, asked: Asked) -> Operation | Told:
        """The first carrier that has a conference of this name, this one before the others."""
        name = request.path["conference_name"]
        here = request.resources.switch.conferences()
        if any(one.name == name and request.may_act_on(one.account) for one in here):
            return operation
        probe = _bare(asked, "GET", f"/v1/Account/{request.account.auth_id}/Conference/{quote(name, safe='')}/")
        for number, told in await self._ask_all(probe):
            if told.status == 200:
                try:
                    return await self._neighbours.ask(number, asked)
                except NoNeighbourError as error:
                    raise _unavailable(error) from None
        return operation

    def _everywhere(self, operation: Operation, asked: Asked) -> Any:
        """What is done here is done by all others too."""

        async def act(request: Request, parameters: Any) -> Answer | Recorded:
            answer = await operation.act(request, parameters)
            for number, told in await self._ask_all(_bare(asked, asked.method, request.where)):
                if told.status >= 300:
                    logger.error("worker %d answered %s %s by %d", number, asked.method, request.where, told.status)
                    raise ApiError(503, "not all workers of this carrier have done it", {"Retry-After": "1"})
            return answer

        return act

    def _together(self, operation: Operation, asked: Asked) -> Any:
        """The names of conferences here, and of those elsewhere."""

        async def act(request: Request, parameters: Any) -> Answer | Recorded:
            answer = await operation.act(request, parameters)
            if not isinstance(answer, Answer) or not isinstance(answer.body, ConferenceNames):
                return answer
            names = list(answer.body.conferences)
            for _, told in await self._ask_all(_bare(asked, "GET", request.where)):
                if told.status == 200:
                    names += msgspec.json.decode(told.body, type=ConferenceNames).conferences
            return Answer(200, ConferenceNames(request.api_id, list(dict.fromkeys(names))))

        return act

    async def _ask_all(self, asked: Asked) -> Sequence[tuple[int, Told]]:
        """What the others answer, but for those that are gone: they have nothing any more.

        Raises:
            ApiError: One that runs did not answer (503).
        """
        numbers = self._neighbours.others()
        answers = await asyncio.gather(*(self._neighbours.ask(one, asked) for one in numbers), return_exceptions=True)
        told = []
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, Told):
                told.append((number, answer))
            elif not isinstance(answer, NoNeighbourError):
                raise answer
            elif not answer.gone:
                raise _unavailable(answer)
        return told


def _bare(asked: Asked, method: str, target: str) -> Asked:
    """A request by the same visitor, without anything but who asks: no callback is to hear of it twice."""
    kept = {name: value for name, value in asked.headers.items() if name in ("authorization", "host")}
    return Asked(method, target, kept, b"", asked.scheme)


def _unavailable(error: NoNeighbourError) -> ApiError:
    logger.warning("a request could not be passed on: %s", error)
    return ApiError(503, "the worker of this carrier that has it cannot be asked at this moment", {"Retry-After": "1"})
