from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bothway.carrier.config import Account, Application, Config, load_config
from bothway.core.course import CallPlan
from bothway.errors import UsageError

GOOD = """
accounts:
  - {auth_id: MAONE, auth_token: one-token}
  - {auth_id: MATWO, auth_token: two-token}
applications:
  - name: front desk
    answer_url: https://example.com/answer
    answer_method: GET
    fallback_url: http://example.com/fallback
    hangup_url: https://example.com/bye
    time_limit: 60
    account: MATWO
  - {name: other, answer_url: "http://example.com/other"}
numbers:
  - {number: "+1 555-010-0", application: front desk}
  - {number: "15550101", application: other}
limits:
  calls: 7
  degraded_percent: [50]
  slow_reader_seconds: 2.5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "carrier.yaml"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.account(None) == Account("MAONE", "one-token")
    assert config.account("MATWO") == Account("MATWO", "two-token")
    assert config.account("MANONE") is None
    assert config.limits.calls == 7
    assert config.limits.degraded_percent == (50,)
    assert config.limits.connect_tries == 3
    found = config.application_of("1 5550100")
    assert found is not None
    assert found.name == "front desk"
    assert found.order().plan == CallPlan(
        "https://example.com/answer", "GET", "http://example.com/fallback", "POST", 60
    )
    assert config.application_of("+15550199") is None


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)) == Config()


def test_a_token_is_not_shown() -> None:
    assert "one-token" not in repr(Config(accounts=(Account("MAONE", "one-token"),)))


APPLICATION = "applications: [{name: a, answer_url: 'http://h/'%s}]\n"

BAD = [
    ("accounts: [", "is not YAML, at line 1, column 12"),
    ("a: b: c", "is not YAML, at line 1, column 5"),
    ("accounts:\n  - auth_id: MA\n    auth_token: 's3cret", "is not YAML, at line 3"),
    ("[1]", "Expected `object`, got `array`"),
    ("text", "Expected `object`, got `str`"),
    ("acounts: []", "Object contains unknown field `acounts`"),
    ("accounts: [{auth_id: MA}]", "missing required field `auth_token` - at `$.accounts[0]`"),
    ("accounts: [{auth_id: MA, auth_token: 7}]", "Expected `str`, got `int` - at `$.accounts[0].auth_token`"),
    ("accounts: [{auth_id: MA, auth_token: ''}]", "auth_token of account 1 is empty"),
    ("accounts: [{auth_id: '', auth_token: s3cret}]", "auth_id of account 1 is empty"),
    ("accounts: [{auth_id: A, auth_token: s3cret}, {auth_id: A, auth_token: x}]", "the account A is there more than"),
    ("applications: [{name: a}]", "missing required field `answer_url` - at `$.applications[0]`"),
    ("applications: [{name: a, answer_url: 'h'}]", "answer_url of application a is no http or https URL"),
    (APPLICATION % ", hangup_url: ftp://h", "hangup_url of application a is no http or https URL"),
    (APPLICATION % ", answer_method: post", "answer_method of application a is neither GET nor POST"),
    (APPLICATION % ", time_limit: 0", "time_limit of application a is no number of seconds above zero"),
    (APPLICATION % ", account: MAX", "application a belongs to an account that is not there"),
    (APPLICATION % ", answerurl: x", "unknown field `answerurl` - at `$.applications[0]`"),
    (APPLICATION * 1 + "numbers: [{number: 15550100, application: a}]", "Expected `str`, got `int` - at `$.numbers[0]"),
    (APPLICATION % "" + "numbers: [{number: '1', application: b}]", "number 1 names the application 'b', which is not"),
    (APPLICATION % "" + "numbers: [{number: '+', application: a}]", "number 1 is empty"),
    (
        APPLICATION % "" + "numbers: [{number: '1', application: a}, {number: '+1', application: a}]",
        "the number 1 is there more than once",
    ),
    ("applications: [{name: a, answer_url: 'http://h'}, {name: a, answer_url: 'http://h'}]", "the application a is"),
    ("limits: 7", "Expected `object`, got `int` - at `$.limits`"),
    ("limits: {call: 7}", "limits: there is no limit 'call'"),
    ("limits: {calls: 0}", "limits: calls is a number above zero"),
    ("limits: {calls: many}", "Expected `int`, got `str` - at `$.limits.calls`"),
    ("limits: {playout_seconds: -1}", "limits: playout_seconds is a number above zero"),
    ("limits: {streams_per_call: 17}", "limits: streams_per_call is a number from 1 to 16"),
    ("limits: {streams_per_call: 0}", "limits: streams_per_call is a number from 1 to 16"),
    ("limits: {degraded_percent: [0]}", "limits: degraded_percent holds numbers from 1 to 100"),
    ("accounts: [{auth_id: A, auth_token: x, timezone: Mars/North}]", "the timezone of account A is no IANA name"),
    ("accounts: [{auth_id: A, auth_token: x, timezone: ../../etc/passwd}]", "the timezone of account A is no IANA"),
    ("accounts: [{auth_id: A, auth_token: x, currency: rupees}]", "the currency of account A is not three capital"),
    ("accounts: [{auth_id: A, auth_token: x, parent: B}]", "the parent of account A is none of the main accounts"),
    ("accounts: [{auth_id: A, auth_token: x, cash_credits: much}]", "`$.accounts[0].cash_credits`"),
    ("rates: {inbound: .nan}", "inbound of the rates is no amount"),
    ("rates: {outbound: -1}", "outbound of the rates is no amount"),
    ("rates: {stream: 1e7}", "stream of the rates is no amount: it is 0 to 1000000, with 8 decimals at most"),
    ("rates: {stream: '0.000000001'}", "stream of the rates is no amount"),
    ("inventory: [{number: 'x1', country: US}]", "the rentable number x1 is not digits"),
    ("inventory: [{number: '1555', country: usa}]", "the country of the rentable number 1555 is not two capital"),
    ("inventory: [{number: '1555', country: US, type: odd}]", "Invalid enum value 'odd'"),
    (
        "inventory: [{number: '1555', country: US, voice_rate: -1}]",
        "voice_rate of the rentable number 1555 is no",
    ),
    (
        "inventory: [{number: '1555', country: US}, {number: '+1 555', country: US}]",
        "the rentable number 1555 is there more than once",
    ),
    ("!!python/object:os.system {}", "is not YAML"),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=range(len(BAD)))
def test_every_error_names_the_file_and_the_place(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text.replace("%s", ""))
    with pytest.raises(UsageError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"accounts: \xff")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "latin.yaml")


def test_applications_have_defaults() -> None:
    assert Application("a", "http://h/").order().plan == CallPlan("http://h/")


def test_accounts_and_the_inventory(tmp_path: Path) -> None:
    text = """
accounts:
  - {auth_id: MAONE, auth_token: t, timezone: Asia/Kolkata, currency: INR, cash_credits: 4.5, compliance_accepted: true}
  - {auth_id: SAONE, auth_token: u, parent: MAONE}
inventory: [{number: "+91 80 0000", country: IN, type: mobile, monthly_rental_rate: "2.50"}]
"""
    config = load_config(written(tmp_path, text))
    main, sub = config.accounts
    assert (main.main_id, sub.main_id, sub.parent) == ("MAONE", "MAONE", "MAONE")
    assert (main.cash_credits, main.compliance_accepted) == (Decimal("4.5"), True)
    assert datetime(2026, 1, 1, tzinfo=main.zone).utcoffset() == timedelta(hours=5, minutes=30)
    assert sub.zone is UTC
    assert config.inventory[0].monthly_rental_rate == Decimal("2.50")
