"""The Dockerfile does what it says, without Docker: its steps are read, and run in a folder that stands for the image.

What the network would bring is taken from this environment: the packages that the carrier depends on. The wheel is
built, installed and started.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.source_tree import ROOT

KNOWN = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
PORT = "8080"


@dataclass
class Stage:
    image: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for step, rest in self.steps if step == word]

    def last(self, word: str) -> list[str]:
        value: list[str] = json.loads(self.all(word)[-1])
        return value


def stages() -> list[Stage]:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    found: list[Stage] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        assert word in KNOWN, line
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name))
        else:
            found[-1].steps.append((word, rest))
    return found


def ignored(path: str) -> bool:
    """Whether `.dockerignore`, as far as ours goes, keeps a file of the repository out."""
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        pattern, keeps = line.removeprefix("!"), line.startswith("!")
        written = re.escape(pattern).replace(re.escape("**/"), "(.*/)?").replace(re.escape("*"), "[^/]*")
        if re.match(f"{written}(/|$)", path):
            out = not keeps
    return out


def test_the_images_are_slim_and_named_without_a_host() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    for stage in stages():
        found = re.fullmatch(r"python:3\.(\d+)-slim", stage.image)
        assert found is not None, stage.image
        assert int(found[1]) >= int(requires.removeprefix(">=3."))
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert set(re.findall(r"https?://([^/'\"]+)", text)) <= {f"127.0.0.1:{PORT}"}


def test_it_runs_as_nobody_special_and_keeps_its_data() -> None:
    _, final = stages()
    (user,) = final.all("USER")
    made = " && ".join(final.all("RUN"))
    assert f"useradd --uid 10001 --gid {user} " in made
    assert f"install -d -o {user} -g {user} -m 0700 /data" in made
    assert final.all("VOLUME") == ["/data"]
    assert final.all("EXPOSE") == [PORT]
    order = [word for word, _ in final.steps]
    assert order.index("USER") > max(place for place, word in enumerate(order) if word == "RUN")


def test_the_build_is_sent_what_it_copies_and_nothing_else() -> None:
    build, final = stages()
    for rest in build.all("COPY"):
        *sources, target = rest.split()
        assert target.startswith("/source/")
        for source in sources:
            assert (ROOT / source).exists()
            assert not ignored(source)
    assert final.all("COPY") == ["--from=build /opt/bothway /opt/bothway"]
    for secret in (".bothway/credentials.json", ".env", ".git/config", "tests/conftest.py", "src/bothway/x.pyc"):
        assert ignored(secret), secret
    assert not ignored("src/bothway/cli/demo.yaml")


def test_the_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (argument,) = stages()[0].all("ARG")
    assert set(argument.partition("=")[2].split(",")) <= extras.keys()


def test_its_steps_make_a_carrier_that_runs(tmp_path: Path) -> None:
    build, final = stages()
    root = tmp_path / "image"
    packages_here(tmp_path / "packages")
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    arguments = dict(pair.split("=", 1) for pair in build.all("ARG"))
    for word, rest in build.steps:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, root / target.strip("/"))
        elif word == "RUN":
            run(within(rest, root), offline | arguments)
            if "-m venv" in rest:  # what the network would bring
                (site,) = (root / "opt" / "bothway").glob("lib/python*/site-packages")
                (site / "here.pth").write_text(str(tmp_path / "packages"))
    bothway = root / "opt" / "bothway" / "bin" / "bothway"
    installed = run(f"{bothway} --version", {}).strip()
    assert installed.startswith("bothway ")
    python = bothway.with_name("python")
    where = run(f"{python} -c 'import bothway; print(bothway.__file__)'", {}).strip()
    assert Path(where).is_relative_to(root), "it is the wheel's"
    starts(final, root, bothway)


def starts(final: Stage, root: Path, bothway: Path) -> None:
    """The container: its entry point, its health check, its end."""
    (root / "data").mkdir()
    port = free_port()
    environment = dict(pair.split("=", 1) for rest in final.all("ENV") for pair in within(rest, root).split())
    environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
    command = [*final.last("ENTRYPOINT"), *(word.replace(PORT, port) for word in final.last("CMD"))]
    assert command[0] == bothway.name
    health = json.loads(final.all("HEALTHCHECK")[-1].partition("CMD ")[2])
    check = [str(bothway.with_name(health[0])), *(word.replace(PORT, port) for word in health[1:])]
    assert subprocess.run(check, check=False, capture_output=True, timeout=20).returncode != 0
    process = subprocess.Popen(
        [str(bothway), *command[1:]], cwd=root / "data", env=clean() | environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('ready {"url": "http://0.0.0.0:')
        subprocess.run(check, check=True, timeout=20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout is not None else None
    assert {path.name for path in (root / "data").iterdir()} >= {"credentials.json", "records.db"}


def packages_here(folder: Path) -> None:
    """A folder with all packages of this environment but our own."""
    folder.mkdir()
    for key in ("purelib", "platlib"):
        for path in Path(sysconfig.get_paths()[key]).iterdir():
            if not re.match(r"(?i)(_*bothway|__pycache__|.*\.pth$)", path.name) and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def within(command: str, root: Path) -> str:
    """A step of the Dockerfile with its folders inside `root`, and this Python for the image's."""
    moved = re.sub(r"(?<![\w/])/(source|wheels|opt|data)\b", rf"{root}/\1", command)
    return re.sub(r"^python ", f"{sys.executable} ", moved)


def run(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-ec", command], env=clean() | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def clean() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BOTHWAY_", "PLIVO_", "PYTHON"))}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


if shutil.which("sh") is None:
    pytest.skip("the steps are lines for a shell", allow_module_level=True)
