"""Settings: everything that an option or an environment variable can say, in one place.

A field of `Settings` is named once; its variable (`BOTHWAY_HTTP`) and its option (`--http`) follow from that name. An
option outweighs its variable, and a variable the default. Credentials have a variable alone: other users of a machine
can read a command line.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bothway.errors import UsageError
from bothway.runtime.logs import LEVELS

__all__ = [
    "COMMANDS",
    "Address",
    "Setting",
    "Settings",
    "add_options",
    "parse_address",
    "parse_origin",
    "settings_of",
    "shown",
]

COMMANDS = frozenset({"carrier", "serve", "call", "costs", "demo", "dev"})
"""The commands that read settings (design, section 6)."""

_DEFAULT_API_URL = "https://api.plivo.com/v1"
"""The carrier that `app` talks to when no other is named (plivo-protocol.md, 5.1)."""

_MAX_URL = 2048
_MAX_WORKERS = 64
_MAX_SHOWN = 200
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: A name, an IPv4 or an IPv6 address, the last without brackets.
        port: 0 lets the system choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port`, `[IPv6]:port`, `:port` or a bare port.

    Without a host it is the loopback, 127.0.0.1: who wants to be reached from elsewhere says so (`0.0.0.0:8080`).

    Raises:
        ValueError: It is none of these; the message says what is allowed.
    """
    host, _, port = text.strip().rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]") and ":" in host
    is_plain = not any(character in host for character in ":[]/ ")
    if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF and (is_bracketed or is_plain)):
        raise ValueError("host:port, [IPv6]:port or a port from 0 to 65535")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def shown(text: str) -> str:
    """A value that is not allowed, for an error: in quotes, and without the user name and the password of a URL."""
    return repr(re.sub(r"//[^/@]*@", "//***@", text[:_MAX_SHOWN]))


@dataclass(frozen=True)
class Setting:
    """What is known of one field of `Settings`.

    Attributes:
        name: The field.
        variables: The environment variables that set it; the first that is there counts.
        option: The command-line option, or None where there is only a variable.
        parse: Text to value; raises ValueError whose message completes "it must be …".
        help: What it means, for people.
        commands: The commands that read it.
        by_command: The default where a command has another than the field's own.
        is_secret: Whether its value must never be shown.
        is_flag: Whether the option takes no value: `--name` and `--no-name`.
    """

    name: str
    variables: tuple[str, ...]
    option: str | None
    parse: Callable[[str], Any]
    help: str
    commands: frozenset[str]
    by_command: Mapping[str, Any]
    is_secret: bool
    is_flag: bool


def _about(
    parse: Callable[[str], Any],
    text: str,
    commands: str,
    *,
    by_command: Mapping[str, Any] | None = None,
    variables: tuple[str, ...] = (),
    is_secret: bool = False,
) -> dict[str, Any]:
    """The metadata of a field, from which `settings_of` makes its `Setting`."""
    known = frozenset(commands.split())
    assert known <= COMMANDS
    return {
        "parse": parse,
        "help": text,
        "commands": known,
        "by_command": by_command or {},
        "variables": variables,
        "is_secret": is_secret,
    }


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"one of {', '.join(_TRUE + _FALSE)}")


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text

    return parse


def _path(text: str) -> Path:
    if not text:
        raise ValueError("a path")
    return Path(text).expanduser()


def _text(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError("text without spaces around it")
    return text


def _database(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")) or any(character.isspace() for character in text):
        raise ValueError("postgresql://user:password@host:port/database")
    return text


def parse_origin(text: str) -> str:
    """Read an http(s) URL without credentials, query and fragment; a slash at its end is dropped.

    Raises:
        ValueError: It is none; the message says what is allowed.
    """
    allowed = f"an http or https URL of at most {_MAX_URL} characters, without a query and without credentials"
    if any(character.isspace() for character in text):
        # The parser would quietly drop some of them.
        raise ValueError(allowed)
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(allowed) from None
    if not is_url or parts.query or parts.fragment or parts.username or len(text) > _MAX_URL:
        raise ValueError(allowed)
    return text.rstrip("/")


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_WORKERS):
        raise ValueError(f"a whole number from 1 to {_MAX_WORKERS}")
    return int(text)


def _seconds(text: str) -> float:
    allowed = "a number of seconds from 0 to 86400"
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(allowed) from None
    if not 0 <= seconds <= 86_400:
        raise ValueError(allowed)
    return seconds


_CARRIERS = "carrier call demo dev"
_ALL = f"serve {_CARRIERS}"
_LOCAL = {"call": True, "demo": True, "dev": True}


@dataclass(frozen=True, repr=False)
class Settings:
    """Every setting, with its default; `settings_of` says which of them a command reads.

    `repr` shows `***` for credentials.

    Raises:
        UsageError: A certificate without its key, or the reverse.
    """

    http: Address = field(
        default=Address("127.0.0.1", 8080),
        metadata=_about(
            parse_address,
            "listen for HTTP and WebSockets here; port 0 is a free one",
            "carrier serve demo dev",
            by_command={"demo": Address("127.0.0.1", 0)},
        ),
    )
    profile: str = field(
        default="documented",
        metadata=_about(
            _one_of("documented", "live"),
            "behave as the carrier's documents say, or as its live system does",
            _CARRIERS,
        ),
    )
    config: Path | None = field(
        default=None,
        metadata=_about(_path, "the file that names accounts, numbers, applications and limits", "carrier"),
    )
    data: Path = field(
        default=Path(".bothway"),
        metadata=_about(_path, "the folder for what must outlive the process", f"{_CARRIERS} costs"),
    )
    db: str | None = field(
        default=None,
        metadata=_about(
            _database,
            "keep records in this PostgreSQL database, not in the data folder; with a password, use the variable",
            "carrier costs",
        ),
    )
    auth_id: str | None = field(
        default=None,
        metadata=_about(
            _text,
            "the account's id; unset, it is made and kept in the data folder",
            _CARRIERS,
            variables=("BOTHWAY_AUTH_ID", "PLIVO_AUTH_ID"),
        ),
    )
    auth_token: str | None = field(
        default=None,
        metadata=_about(
            _text,
            "the account's token; unset, it is made and kept in the data folder",
            _CARRIERS,
            variables=("BOTHWAY_AUTH_TOKEN", "PLIVO_AUTH_TOKEN"),
            is_secret=True,
        ),
    )
    allow_private: bool = field(
        default=False,
        metadata=_about(
            _boolean,
            "let outgoing URLs lead to private networks and to this machine",
            "carrier call",
            by_command=_LOCAL,
        ),
    )
    recordings: bool = field(
        default=False,
        metadata=_about(_boolean, "keep a stereo recording of every call", _CARRIERS, by_command=_LOCAL),
    )
    out: Path = field(
        default=Path("bothway-out"),
        metadata=_about(
            _path,
            "the folder for recordings, event logs and timelines",
            "call demo",
            by_command={"demo": Path("bothway-out/demo")},
        ),
    )
    public_url: str | None = field(
        default=None,
        metadata=_about(
            parse_origin, "the origin that the outside sees, where a tunnel or a proxy stands in front", "carrier serve"
        ),
    )
    workers: int = field(default=1, metadata=_about(_workers, "the number of processes to run", "carrier serve"))
    tls_cert: Path | None = field(
        default=None, metadata=_about(_path, "the certificate chain to serve TLS with, as PEM", "carrier serve")
    )
    tls_key: Path | None = field(
        default=None, metadata=_about(_path, "the key of that certificate, as PEM", "carrier serve")
    )
    log_level: str = field(
        default="info",
        metadata=_about(_one_of(*LEVELS), "the least level of log line to write", _ALL, by_command={"demo": "warning"}),
    )
    log_format: str = field(
        default="text", metadata=_about(_one_of("text", "json"), "log lines as text, or as one JSON object each", _ALL)
    )
    api_url: str = field(
        default=_DEFAULT_API_URL,
        metadata=_about(parse_origin, "the base of the carrier's REST API that the app calls", "serve"),
    )
    plivo_auth_id: str | None = field(
        default=None,
        metadata=_about(
            _text, "the account that the app answers for", "serve", variables=("PLIVO_AUTH_ID", "BOTHWAY_AUTH_ID")
        ),
    )
    plivo_auth_token: str | None = field(
        default=None,
        metadata=_about(
            _text,
            "the token that the carrier's signatures are checked with",
            "serve",
            variables=("PLIVO_AUTH_TOKEN", "BOTHWAY_AUTH_TOKEN"),
            is_secret=True,
        ),
    )
    check_signatures: bool = field(
        default=True,
        metadata=_about(_boolean, "refuse requests and streams that the carrier did not sign", "serve"),
    )
    drain_seconds: float = field(
        default=30.0,
        metadata=_about(_seconds, "how long calls may go on after a SIGTERM, in seconds", "carrier serve"),
    )

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            there, missing = ("tls-cert", "tls-key") if self.tls_cert else ("tls-key", "tls-cert")
            raise UsageError(f"--{there} is set without --{missing}: TLS needs both")

    def __repr__(self) -> str:
        shown = (
            f"{one.name}={'***' if (one.is_secret or one.name == 'db') and value is not None else repr(value)}"
            for one in settings_of()
            for value in (getattr(self, one.name),)
        )
        return f"Settings({', '.join(shown)})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown, for `bothway.runtime.logs.redact`."""
        values = [getattr(self, one.name) for one in settings_of() if one.is_secret]
        if self.db is not None:
            values.append(unquote(urlsplit(self.db).password or "") or None)
        return tuple(dict.fromkeys(value for value in values if value is not None))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, command: str | None = None, **overrides: Any) -> Settings:
        """Read the variables, put `overrides` over them and defaults under them.

        A variable that is there but empty counts as absent, as container tools often leave it.

        Args:
            environ: The environment, as `os.environ`.
            command: The command that asks: its own defaults apply, and variables that it does not read are left alone.
            **overrides: Values by field name, already of the right type.

        Raises:
            UsageError: A variable's value is not allowed, an override names no field, or there is no such command.
        """
        names = {one.name for one in fields(cls)}
        if unknown := sorted(overrides.keys() - names):
            raise UsageError(f"there is no setting {', '.join(unknown)}")
        values: dict[str, Any] = {}
        for one in settings_of(command):
            if command is not None and command in one.by_command:
                values[one.name] = one.by_command[command]
            variable = next((name for name in one.variables if environ.get(name)), None)
            if variable and one.name not in overrides:
                values[one.name] = _parsed(one, variable, environ[variable])
        return cls(**values | overrides)

    @classmethod
    def from_arguments(
        cls, command: str, arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ
    ) -> Settings:
        """Read the options that `add_options` added, and for those not given the variables.

        Raises:
            UsageError: As of `from_environment`.
        """
        names = {one.name for one in settings_of(command)}
        given = {name: value for name, value in vars(arguments).items() if name in names}
        return cls.from_environment(environ, command=command, **given)


def settings_of(command: str | None = None) -> tuple[Setting, ...]:
    """The settings that `command` reads, or all of them, in the order of `Settings`.

    Raises:
        UsageError: There is no such command.
    """
    if command is not None and command not in COMMANDS:
        raise UsageError(f"there is no command {command!r} with settings: they are {', '.join(sorted(COMMANDS))}")
    return tuple(one for one in _known() if command is None or command in one.commands)


def _known() -> list[Setting]:
    known = []
    for one in fields(Settings):
        data = one.metadata
        is_credential = data["is_secret"] or one.name.endswith("auth_id")
        known.append(
            Setting(
                name=one.name,
                variables=data["variables"] or (f"BOTHWAY_{one.name.upper()}",),
                option=None if is_credential else f"--{one.name.replace('_', '-')}",
                parse=data["parse"],
                help=data["help"],
                commands=data["commands"],
                by_command=data["by_command"],
                is_secret=data["is_secret"],
                is_flag=data["parse"] is _boolean,
            )
        )
    return known


def add_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the options of `command` to its parser; what is not given stays out of the namespace.

    A wrong value ends in argparse's error, which names the option and what is allowed.

    Raises:
        UsageError: There is no such command.
    """
    defaults = Settings()
    for one in settings_of(command):
        if one.option is None:
            continue
        default = one.by_command.get(command, getattr(defaults, one.name))
        shown = "" if default is None else f", default {_shown(default)}"
        text = f"{one.help} ({one.variables[0]}{shown})".replace("%", "%%")
        if one.is_flag:
            parser.add_argument(
                one.option, dest=one.name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
            )
        else:
            parser.add_argument(
                one.option,
                dest=one.name,
                type=_argument(one),
                default=argparse.SUPPRESS,
                metavar=_METAVARS.get(one.parse, one.name.rpartition("_")[2].upper()),
                help=text,
            )


_METAVARS: dict[Callable[[str], Any], str] = {
    parse_address: "HOST:PORT",
    parse_origin: "URL",
    _database: "URL",
    _path: "PATH",
    _workers: "N",
}


def _shown(default: object) -> str:
    return ("no", "yes")[default] if isinstance(default, bool) else str(default)


def _argument(one: Setting) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return one.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{shown(text)} is not allowed; it must be {error}") from None

    return parse


def _parsed(one: Setting, variable: str, text: str) -> Any:
    try:
        return one.parse(text)
    except ValueError as error:
        told = "set to what is not allowed" if one.is_secret else shown(text)
        raise UsageError(f"the environment variable {variable} is {told}; it must be {error}") from None
