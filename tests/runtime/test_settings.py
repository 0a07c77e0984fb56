"""Settings: variables, options, and that the two mirror each other."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.errors import UsageError
from bothway.runtime.settings import COMMANDS, Address, Settings, add_options, parse_address, settings_of

EXAMPLES: dict[str, tuple[str, object]] = {
    "http": ("0.0.0.0:9000", Address("0.0.0.0", 9000)),
    "profile": ("live", "live"),
    "config": ("/etc/bothway.yaml", Path("/etc/bothway.yaml")),
    "data": ("/var/lib/bothway", Path("/var/lib/bothway")),
    "db": ("postgresql://me:a-db-password@db/records", "postgresql://me:a-db-password@db/records"),
    "auth_id": ("MAXXXXXXXXXXXXXXXXXX", "MAXXXXXXXXXXXXXXXXXX"),
    "auth_token": ("carrier-secret", "carrier-secret"),
    "allow_private": ("yes", True),
    "recordings": ("on", True),
    "out": ("/tmp/out", Path("/tmp/out")),
    "public_url": ("https://calls.example.com/", "https://calls.example.com"),
    "workers": ("4", 4),
    "tls_cert": ("/etc/cert.pem", Path("/etc/cert.pem")),
    "tls_key": ("/etc/key.pem", Path("/etc/key.pem")),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "api_url": ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
    "plivo_auth_id": ("MAYYYYYYYYYYYYYYYYYY", "MAYYYYYYYYYYYYYYYYYY"),
    "plivo_auth_token": ("app-secret", "app-secret"),
    "check_signatures": ("false", False),
    "drain_seconds": ("2.5", 2.5),
}
TLS = {"tls_cert": Path("/etc/cert.pem"), "tls_key": Path("/etc/key.pem")}


def parser_for(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bothway", exit_on_error=False)
    parser.add_argument("target", nargs="?")
    add_options(parser, command)
    return parser


def test_the_examples_are_all_the_settings() -> None:
    assert list(EXAMPLES) == [one.name for one in settings_of()]


def test_without_anything_the_defaults_hold() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert str(settings.http) == "127.0.0.1:8080"
    assert settings.check_signatures
    assert not settings.allow_private
    assert settings.api_url == "https://api.plivo.com/v1"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_variable_sets_its_field(name: str) -> None:
    text, value = EXAMPLES[name]
    (one,) = [one for one in settings_of() if one.name == name]
    extra: dict[str, Any] = {key: path for key, path in TLS.items() if name in TLS and key != name}
    settings = Settings.from_environment({one.variables[0]: text}, **extra)
    assert getattr(settings, name) == value


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_options_mirror_variables(command: str) -> None:
    known = settings_of(command)
    by_variables = Settings.from_environment(
        {one.variables[0]: EXAMPLES[one.name][0] for one in known}, command=command
    )
    arguments: list[str] = []
    secrets: dict[str, str] = {}
    for one in known:
        text, value = EXAMPLES[one.name]
        if one.option is None:
            assert "auth" in one.name
            secrets[one.variables[0]] = text
        elif one.is_flag:
            arguments.append(one.option if value else one.option.replace("--", "--no-", 1))
        else:
            assert one.option == "--" + one.variables[0].removeprefix("BOTHWAY_").lower().replace("_", "-")
            arguments += [one.option, text]
    parsed = parser_for(command).parse_args(arguments)
    assert Settings.from_arguments(command, parsed, secrets) == by_variables
    assert all(getattr(by_variables, one.name) == EXAMPLES[one.name][1] for one in known)


def test_an_option_outweighs_its_variable_and_both_the_default() -> None:
    parsed = parser_for("serve").parse_args(["--http", ":0", "a-target"])
    settings = Settings.from_arguments(
        "serve", parsed, {"BOTHWAY_HTTP": "nonsense, yet outweighed", "BOTHWAY_WORKERS": "2"}
    )
    assert (settings.http, settings.workers) == (Address("127.0.0.1", 0), 2)


def test_commands_have_defaults_of_their_own() -> None:
    for command in COMMANDS:
        settings = Settings.from_environment({}, command=command)
        assert settings.recordings == (command in {"dev", "demo", "call"})
        assert settings.allow_private == (command == "call")
    assert not Settings.from_environment({"BOTHWAY_RECORDINGS": "0"}, command="dev").recordings
    assert not Settings.from_arguments("dev", parser_for("dev").parse_args(["--no-recordings"]), {}).recordings


def test_a_command_ignores_the_variables_of_others() -> None:
    assert Settings.from_environment({"BOTHWAY_WORKERS": "many"}, command="call").workers == 1


def test_the_apps_credentials_fall_back_to_the_carriers() -> None:
    carrier = {"BOTHWAY_AUTH_ID": "MA1", "BOTHWAY_AUTH_TOKEN": "t1"}
    settings = Settings.from_environment(carrier, command="serve")
    assert (settings.plivo_auth_id, settings.plivo_auth_token) == ("MA1", "t1")
    settings = Settings.from_environment(carrier | {"PLIVO_AUTH_ID": "MA2", "PLIVO_AUTH_TOKEN": "t2"})
    assert (settings.plivo_auth_id, settings.plivo_auth_token, settings.auth_token) == ("MA2", "t2", "t1")
    assert Settings.from_environment(carrier | {"PLIVO_AUTH_ID": ""}).plivo_auth_id == "MA1"


def test_the_carriers_credentials_fall_back_to_the_apps() -> None:
    app = {"PLIVO_AUTH_ID": "MA2", "PLIVO_AUTH_TOKEN": "t2"}
    settings = Settings.from_environment(app, command="call")
    assert (settings.auth_id, settings.auth_token) == ("MA2", "t2")


def test_secrets_are_not_shown() -> None:
    environ = {"BOTHWAY_AUTH_TOKEN": "carrier-secret", "PLIVO_AUTH_TOKEN": "app-secret"}
    settings = Settings.from_environment(environ)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "secret" not in text
        assert "auth_token=***" in text
        assert "http=Address(" in text
    assert "auth_token=None" in repr(Settings())
    assert settings.secrets == ("carrier-secret", "app-secret")
    assert Settings.from_environment({"BOTHWAY_AUTH_TOKEN": "same"}).secrets == ("same",)
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({"BOTHWAY_AUTH_TOKEN": " hidden "})
    assert "BOTHWAY_AUTH_TOKEN" in str(caught.value)
    assert "hidden" not in str(caught.value)


BAD = [
    ("BOTHWAY_HTTP", "example.com", "it must be host:port"),
    ("BOTHWAY_PROFILE", "real", "it must be one of documented, live"),
    ("BOTHWAY_ALLOW_PRIVATE", "maybe", "it must be one of 1, true, yes, on, 0, false, no, off"),
    ("BOTHWAY_WORKERS", "0", "it must be a whole number from 1 to 64"),
    ("BOTHWAY_WORKERS", "²", "it must be a whole number"),
    ("BOTHWAY_PUBLIC_URL", "calls.example.com", "it must be an http or https URL"),
    ("BOTHWAY_PUBLIC_URL", "https://h:p/", "it must be an http or https URL"),
    ("BOTHWAY_PUBLIC_URL", "https://user@h/", "it must be an http or https URL"),
    ("BOTHWAY_PUBLIC_URL", "https://h/\n", "it must be an http or https URL"),
    ("BOTHWAY_API_URL", "https://h/?a=b", "without a query"),
    ("BOTHWAY_API_URL", "https://h/" + "a" * 2048, "at most 2048 characters"),
    ("BOTHWAY_LOG_LEVEL", "INFO", "it must be one of debug, info"),
    ("BOTHWAY_DRAIN_SECONDS", "nan", "it must be a number of seconds"),
    ("BOTHWAY_DRAIN_SECONDS", "soon", "it must be a number of seconds"),
    ("BOTHWAY_AUTH_ID", " MA ", "it must be text without spaces around it"),
]


@pytest.mark.parametrize(("variable", "text", "message"), BAD)
def test_a_wrong_value_names_the_variable_and_what_is_allowed(variable: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({variable: text})
    assert variable in str(caught.value)
    assert message in str(caught.value)


def test_a_wrong_option_is_the_parsers_error() -> None:
    with pytest.raises(argparse.ArgumentError, match="argument --workers: 'no' is not allowed; it must be a whole"):
        parser_for("serve").parse_args(["--workers", "no"])


def test_tls_needs_both_files() -> None:
    with pytest.raises(UsageError, match="--tls-cert is set without --tls-key"):
        Settings.from_environment({"BOTHWAY_TLS_CERT": "c.pem"})
    with pytest.raises(UsageError, match="--tls-key is set without --tls-cert"):
        Settings(tls_key=Path("k.pem"))


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="no setting htpp, porofile"):
        Settings.from_environment({}, porofile="live", htpp=Address("h", 1))
    with pytest.raises(UsageError, match="no command 'fly'"):
        settings_of("fly")


def test_help_names_the_variable_and_the_default() -> None:
    text = " ".join(parser_for("dev").format_help().split())
    assert "(BOTHWAY_HTTP, default 127.0.0.1:8080)" in text
    assert "(BOTHWAY_RECORDINGS, default yes)" in text
    assert "--no-recordings" in text
    assert "token" not in text.replace("PLIVO_AUTH_TOKEN", "").lower()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:80", "localhost", 80),
        ("[::1]:80", "::1", 80),
        (":0", "127.0.0.1", 0),
        ("8080", "127.0.0.1", 8080),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", "::1:80", "::1", "[::1]", "[::1]80", "[host]:80", "a:70000", "a:-1", "a b:1", "a:١"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port, \[IPv6\]:port or a port from 0 to 65535"):
        parse_address(text)


@given(
    host=st.one_of(st.ip_addresses(), st.from_regex(r"[a-z]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)),
    port=st.integers(0, 65535),
)
def test_addresses_round_trip(host: str | ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    address = Address(str(host), port)
    assert parse_address(str(address)) == address
