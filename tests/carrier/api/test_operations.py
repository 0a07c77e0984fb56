from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from tests.carrier.api.desk import MAIN, OTHER, Desk

from bothway.carrier.api.operations import Operation, Paging, Request, money, not_found
from bothway.carrier.api.parameters import ApiError
from bothway.carrier.config import Account
from bothway.carrier.store.records import Page, RecordingRecord


def request_of(api: Desk, account: Account = MAIN, **given: object) -> Request:
    where = f"/v1/Account/{account.auth_id}/X/"
    return Request(api.resources, account, "id", {}, where, "http://h", given, {})


async def test_times_are_written_in_the_accounts_zone(api: Desk) -> None:
    request = request_of(api)
    at = datetime(2014, 8, 5, 10, 45, 15, 852_059, UTC)
    assert request.local(at) == "2014-08-05 16:15:15+05:30"
    assert request.local(at, fraction=True) == "2014-08-05 16:15:15.852059+05:30"
    assert request.local(None) is None
    assert request_of(api, OTHER).local(at) == "2014-08-05 10:45:15+00:00"


async def test_whose_a_record_is(api: Desk) -> None:
    sub = await api.subaccount()

    def record(account: Account) -> RecordingRecord:
        return RecordingRecord(
            recording_id="r",
            account=account.main_id,
            sub_account=account.auth_id if account.parent else "",
            add_time=datetime.now(UTC),
            path="r",
            recording_format="wav",
        )

    owns = {
        (viewer.auth_id, owner.auth_id): request_of(api, viewer).owns(record(owner))
        for viewer in (MAIN, sub, OTHER)
        for owner in (MAIN, sub, OTHER)
    }
    yes = {(MAIN.auth_id, MAIN.auth_id), (MAIN.auth_id, sub.auth_id), (sub.auth_id, sub.auth_id)}
    assert {pair for pair, owned in owns.items() if owned} == yes | {(OTHER.auth_id, OTHER.auth_id)}
    assert request_of(api).may_act_on(sub)
    assert not request_of(api, sub).may_act_on(MAIN)


async def test_lists_narrowed_to_a_sub_account(api: Desk) -> None:
    sub = await api.subaccount()
    assert await request_of(api).narrowed(None) is None
    assert await request_of(api).narrowed(MAIN.auth_id) is None
    assert await request_of(api).narrowed(sub.auth_id) == sub.auth_id
    assert await request_of(api, sub).narrowed(None) == sub.auth_id
    assert await request_of(api).assigned("") == ""
    for account, wanted in ((MAIN, OTHER.auth_id), (OTHER, sub.auth_id), (sub, MAIN.auth_id), (MAIN, "x")):
        with pytest.raises(ApiError, match="subaccount is none of"):
            await request_of(api, account).narrowed(wanted)


@pytest.mark.parametrize(
    ("limit", "offset", "total", "next_", "previous"),
    [(20, 0, 20, None, None), (3, 0, 948, 3, None), (3, 3, 5, None, 0), (3, 1, 5, 4, 0), (3, 100, 5, None, 97)],
)
async def test_neighbours(
    api: Desk, limit: int, offset: int, total: int, next_: int | None, previous: int | None
) -> None:
    request = request_of(api, limit="3", offset=7, name="a b", other={"x": 1})
    meta = request.meta(Page((), total), Paging(limit, offset))
    base = f"/v1/Account/{MAIN.auth_id}/X/?name=a+b&limit={limit}&offset="
    assert meta.next == (f"{base}{next_}" if next_ is not None else None)
    assert meta.previous == (f"{base}{previous}" if previous is not None else None)
    assert (meta.limit, meta.offset, meta.total_count) == (limit, offset, total)


def test_small_things() -> None:
    assert money(Decimal("0.0085")) == "0.00850"
    assert (not_found("number").status, str(not_found("number"))) == (404, "number not found")

    async def act(request: Request, parameters: object) -> object:
        return request, parameters

    made = Operation("GET", "Call/{call_uuid}/", act, "", {204: ()})  # type: ignore[arg-type]
    assert made.tag == "Call"
    assert msgspec.structs.replace(Paging(), offset=1).limit == 20
