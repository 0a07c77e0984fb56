"""CPU per stream-second of both ends, children included, beside a C loop and a bare picows loop in the same run.

App end: the load generator is N carriers. `echo` answers every 20 ms frame through the public `Call`; `talk` hears the
caller and plays speech all the time. Carrier end: N whole calls with callers inside the carrier's process, whose
streams go to the bare picows loop: playout, its log and all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from bench.machine import LOAD_CORE, SERVER_CORE, YARDSTICKS, build, python, running, serve, settle, window

PORT = 9701
WARM, SECONDS = 4, 8


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench stream_cost", description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 300])
    parser.add_argument("--rounds", type=int, default=3, help="how often each stack is run; the median counts")
    parser.add_argument("--only", nargs="*", help="only these stacks, beside the bare loops")
    options = parser.parse_args(arguments)
    for streams in options.streams:
        results: dict[str, list[float]] = {}
        latency: dict[str, str] = {}
        for _ in range(options.rounds):
            for name, run in STACKS.items():
                if options.only and name not in options.only and not name.startswith(("C", "picows")):
                    continue
                cost, note = run(streams)
                results.setdefault(name, []).append(cost)
                latency[name] = note
                settle()
        report(streams, results, latency)


def report(streams: int, results: dict[str, list[float]], latency: dict[str, str]) -> None:
    echo, recv = (statistics.median(results[name]) for name in ("picows echo", "picows recv"))
    print(f"\n{streams} streams, median of {len(next(iter(results.values())))} runs of {SECONDS} s")
    print(f"{'stack':<16} {'ms CPU / stream-s':>18} {'× bare picows':>14}   {'spread':>12}   last echo p50 / p99")
    for name, costs in results.items():
        cost = statistics.median(costs)
        base = recv if name in ("picows recv", "app talk", "C recv") else echo
        spread = f"{min(costs):.3f}–{max(costs):.3f}"
        print(f"{name:<16} {cost:>18.3f} {cost / base:>14.2f}   {spread:>12}   {latency[name]}")


def loaded(streams: int, server: list[str], path: str, *, ready: str | None = None) -> tuple[float, str]:
    """The load generator's N streams against one server: its CPU in ms for a stream-second."""
    load = [str(build(YARDSTICKS / "loadgen.c")), str(PORT), str(streams), str(WARM), str(SECONDS), "echo", "160"]
    with running(server, SERVER_CORE, ready=ready) as under_test:
        settle(1.0)
        figures, (used,) = window([*load, "0", "200e-6", path], LOAD_CORE, [under_test])
    note = f"{figures['p50'] / 1000:.2f} / {figures['p99'] / 1000:.2f} ms" if figures.get("rcvd") else "-"
    return used * 1000 / streams / SECONDS, note


def c_loop(streams: int) -> tuple[float, str]:
    """C reads and writes that parse nothing: the floor."""
    return loaded(streams, [str(build(YARDSTICKS / "cfloor.c")), str(PORT), "0", "echo", "160"], "/")


def c_recv(streams: int) -> tuple[float, str]:
    return loaded(streams, [str(build(YARDSTICKS / "cfloor.c")), str(PORT), "0", "recv", "160"], "/")


def bare(*mode: str, port: int = PORT) -> list[str]:
    """The command of a picows loop that parses and answers messages, and does nothing else."""
    return [sys.executable, str(YARDSTICKS / "bare_picows.py"), str(port), *mode]


def picows_echo(streams: int) -> tuple[float, str]:
    return loaded(streams, bare(), "/")


def picows_recv(streams: int) -> tuple[float, str]:
    return loaded(streams, bare("recv"), "/")


def app_echo(streams: int) -> tuple[float, str]:
    return loaded(streams, serve(PORT), "/echo", ready="ready")


def app_talk(streams: int) -> tuple[float, str]:
    # The load generator never says that a checkpoint was played, which is worth a warning elsewhere.
    return loaded(streams, serve(PORT, "error"), "/talk", ready="ready")


def carrier(streams: int) -> tuple[float, str]:
    """N calls of one carrier, whose apps are the bare picows loop on the other core."""
    with running(bare(), LOAD_CORE):
        settle(1.0)
        node = python("bench.carrier_node", streams, f"ws://127.0.0.1:{PORT}/", WARM, SECONDS)
        with running(node, SERVER_CORE) as under_test:
            under_test.wait_for("START")
            before = under_test.cpu_seconds()
            under_test.wait_for("END")
            used = under_test.cpu_seconds() - before
            figures = under_test.wait_for("RES ")
    heard, slips, lines = figures["heard_percent"], figures["slips"], figures["log_lines"]
    note = f"heard {heard:.1f} % of the echo, slips {slips}, log {lines} lines"
    return used * 1000 / streams / SECONDS, note


STACKS = {
    "C echo": c_loop,
    "C recv": c_recv,
    "picows echo": picows_echo,
    "picows recv": picows_recv,
    "app echo": app_echo,
    "app talk": app_talk,
    "carrier": carrier,
}
