"""`bothway costs` as its user sees it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.carrier.store.examples import MAIN, SUB, a_number, a_recording, a_stream, an_ended_call, opened
from tests.postgres import Postgres, postgres_server

from bothway.cli import main

OCTOBER = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)


async def fill(where: str | Path) -> None:
    async with opened(where) as store:
        begun = datetime(2026, 10, 1, tzinfo=UTC)
        for n in range(20):
            await store.calls.save(
                an_ended_call(
                    f"in-{n}",
                    direction="inbound",
                    initiation_time=begun,
                    end_time=OCTOBER,
                    bill_duration=61,
                    amount=Decimal("0.011"),
                    country_code="US",
                    sub_account=SUB if n % 2 else "",
                )
            )
        out = {"initiation_time": begun, "end_time": OCTOBER, "bill_duration": 600, "amount": Decimal("0.1")}
        await store.calls.save(an_ended_call("out", country_code="IN", **out))
        await store.calls.save(an_ended_call("busy", **{**out, "bill_duration": 0, "amount": Decimal(0)}))
        await store.calls.save(an_ended_call("november", **{**out, "end_time": datetime(2026, 11, 1, tzinfo=UTC)}))
        await store.streams.save(
            a_stream(end_time=OCTOBER, bill_duration=27, rounded_bill_duration=60, billed_amount=Decimal("0.003"))
        )
        await store.recordings.save(a_recording(add_time=OCTOBER, duration_ms=60_000, storage_rate=Decimal("0.0004")))
        await store.numbers.save(a_number(account=MAIN, added_on=begun, monthly_rental_rate=Decimal("0.80")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    asyncio.run(fill(folder))
    return folder


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BOTHWAY_DATA", raising=False)
    monkeypatch.delenv("BOTHWAY_DB", raising=False)
    monkeypatch.chdir(tmp_path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert main(["costs", "--json", *map(str, arguments)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_for_people(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["costs", "--data", str(data), "--month", "2026-10"]) == 0
    assert capsys.readouterr().out == (
        """\
2026-10-01 to 2026-11-01 UTC, all accounts

calls in            20   20.3 minutes
calls out            2   10.0 minutes, 1 of them lasted
streams              1   0.5 minutes
recordings           1   1.0 minutes
numbers              1   1 month

             voice in  voice out  streams  recordings  numbers       total
here          0.22000    0.10000  0.00300     0.00040  0.80000     1.12340
plivo   USD   0.22000    0.11500  0.00000     0.00040  0.80000     1.13540
twilio  USD   0.34000    0.14000  0.00440     0.00300  1.15000     1.63740
telnyx  USD   0.20800    0.07000  0.00350     0.00200  1.00000     1.28350
vonage  USD   0.09862    0.08490        ?           ?        ?   > 0.18352
exotel  INR  20.00000    5.00000        ?           ?        ?  > 25.00000

?  no price is published: the total is more

10.0 minutes were not with US, whose prices are counted for them: plivo, twilio, telnyx, vonage
20.3 minutes were not with IN, whose prices are counted for them: exotel

List prices, read 2026-07-18 to 2026-11, without taxes, fees and discounts; --prices FILE changes them.
"""
    )


def test_for_programs(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--data", data, "--month", "2026-10")
    assert (found["since"], found["until"]) == ("2026-10-01T00:00:00+00:00", "2026-11-01T00:00:00+00:00")
    assert found["usage"]["voice_in"] == {"count": 20, "billable": 20, "seconds": 1220}
    assert found["usage"]["voice_out"] == {"count": 2, "billable": 1, "seconds": 600}
    assert found["usage"]["numbers"] == {"count": 1, "months": 1}
    assert found["here"]["voice_in"] == {"quantity": "40.00000", "price": None, "amount": "0.22000"}
    assert found["here"]["currency"] is None
    plivo = found["hosted"][0]
    assert plivo["voice_in"] == {"quantity": "40.00000", "price": "0.0055", "amount": "0.22000"}
    assert (plivo["total"], plivo["unpublished"], plivo["elsewhere_seconds"]) == ("1.13540", [], 600)
    assert found["hosted"][3]["streams"] == {"quantity": "0.45000", "price": None, "amount": None}


def test_of_one_account(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, "--data", data, "--month", "2026-10", "--account", SUB)
    assert (found["account"], found["usage"]["voice_in"]["count"]) == (SUB, 10)
    assert found["usage"]["voice_out"]["count"] == 0


def test_from_one_time_until_another(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = ["--since", "2026-10-20", "--until", "2026-10-20T13:00+01:00"]
    assert report(capsys, "--data", data, *times)["usage"]["voice_in"]["count"] == 0
    times[-1] = "2026-10-20T12:00:01"
    assert report(capsys, "--data", data, *times)["usage"]["voice_in"]["count"] == 20
    assert report(capsys, "--data", data, "--until", "2026-10-31")["since"] == "2026-10-01T00:00:00+00:00"


def test_this_month_if_nothing_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOTHWAY_DATA", str(data))
    now = datetime.now(UTC)
    since = datetime.fromisoformat(report(capsys)["since"])
    assert (since.day, since.hour, since.minute, since.second) == (1, 0, 0, 0)
    assert 0 <= (now - since).days <= 31


def test_other_prices(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ours.yaml").write_text("vonage: {stream: 0.004}\nours: {currency: EUR, voice_in: 1}\n")
    found = report(capsys, "--data", data, "--month", "2026-10", "--prices", "ours.yaml")
    assert found["hosted"][3]["streams"]["amount"] == "0.00180"
    assert [found["hosted"][-1][name] for name in ("carrier", "total")] == ["ours", "40.00000"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


def test_from_postgresql(postgres: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    url = postgres.new_database()
    asyncio.run(fill(url))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(folder))
        files = report(capsys, "--data", folder, "--month", "2026-10")
    assert report(capsys, "--db", url, "--month", "2026-10") == files


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "there are no records in .bothway: name the carrier's data folder with --data"),
        (["--month", "2026-10", "--since", "2026-10-01"], "say either --month, or --since and --until"),
        (["--since", "2026-10-02", "--until", "2026-10-01"], "there is no time from 2026-10-02 until 2026-10-01"),
        (["--prices", "nothing.yaml"], "nothing.yaml cannot be read"),
    ],
)
def test_what_cannot_work(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["costs", *arguments]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing is made by asking"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--month", "2026-13"], "is no month"),
        (["--month", "10-2026"], "is no month"),
        (["--since", "yesterday"], "is no day or time"),
        (["--until", "9999-12-31"], "is no day or time"),
        (["--db", "mysql://db/records"], "it must be postgresql://"),
    ],
)
def test_what_is_no_value(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["costs", *arguments])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["costs", "--db", f"postgresql://nobody@/records?host={tmp_path}"]) == 2
    assert "postgresql" in capsys.readouterr().err.lower()
