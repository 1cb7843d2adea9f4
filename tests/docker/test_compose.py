"""docker-compose.yml and the Dockerfile, as far as they can be checked without building and starting anything.

With its passwords the compose file is valid; while one of them is missing it is refused, with the reason.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from docker.utils import exclude_paths

from tests.support.finding import find
from tests.support.missing import missing
from tests.support.processes import ROOT

pytestmark = pytest.mark.docker

PASSWORDS = {"REDIS_PASSWORD": "r3dis", "RABBITMQ_PASSWORD": "r4bbit", "EVENTS_FLOWER_PASSWORD": "fl0wer"}
OURS = {"worker", "flower", "web"}
# docker-compose prints YAML, for which we have no parser. The one that it uses itself is always there.
TO_JSON = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"


@functools.cache
def compose() -> tuple[str, ...]:
    """Docker's plugin where it is there, else docker-compose. `config` needs no Docker engine."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return (docker, "compose")
    found = find("docker-compose", "docker-compose")
    if found is None:
        missing("neither `docker compose` nor docker-compose (Debian: apt-get install docker-compose)")
    return (str(found.binary),)


def config(file: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`config` of the file with these variables and no others, but for the client's own."""
    env = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | dict(env)
    command = [*compose(), "-f", str(file), "config"]
    if "compose" in command:
        command += ["--format", "json"]
    return subprocess.run(
        command,
        env=env,
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The compose file in a folder where no .env of a developer is read."""
    return Path(shutil.copy(ROOT / "docker-compose.yml", tmp_path))


@pytest.fixture
def services(file: Path) -> dict[str, Any]:
    """The services as compose understands them."""
    ran = config(file, PASSWORDS)
    assert ran.returncode == 0, ran.stderr
    text = ran.stdout
    if "compose" not in compose():
        reading = subprocess.run(
            ["/usr/bin/python3", "-c", TO_JSON], input=text, capture_output=True, text=True, check=True
        )
        text = reading.stdout
    found: dict[str, Any] = json.loads(text)["services"]
    return found


def variables(dockerfile: str) -> dict[str, str]:
    """What ENV sets, and further words with a = in them."""
    return dict(re.findall(r"(\w+)=(\S+)", dockerfile.partition("\nENV ")[2]))


def sources(dockerfile: str) -> set[str]:
    """What is copied out of the project."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_everything_is_there_and_looked_after(services: dict[str, Any]) -> None:
    assert set(services) == {"redis", "rabbitmq", *OURS}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
    for name in OURS:
        waits_for = {server: how["condition"] for server, how in services[name]["depends_on"].items()}
        assert waits_for == {"redis": "service_healthy", "rabbitmq": "service_healthy"}, name
    assert "stop_grace_period" in services["worker"]


@pytest.mark.parametrize("name", sorted(PASSWORDS))
@pytest.mark.parametrize("left", ["unset", "empty"])
def test_a_missing_password_is_said(file: Path, name: str, left: str) -> None:
    env = {key: value for key, value in PASSWORDS.items() if key != name}
    ran = config(file, env | ({name: ""} if left == "empty" else {}))
    assert ran.returncode != 0
    assert ran.stdout == ""
    assert f"set {name}, see the top of docker-compose.yml" in ran.stderr


def test_passwords_come_from_outside_and_reach_only_those_who_need_them(file: Path, services: dict[str, Any]) -> None:
    assert not re.search(r"(?i)(guest|changeme|secret|password: *[a-z])", file.read_text())
    seen = {
        name: {variable for variable, value in PASSWORDS.items() if value in json.dumps(service)}
        for name, service in services.items()
    }
    servers = {"REDIS_PASSWORD", "RABBITMQ_PASSWORD"}
    assert seen == {
        "redis": {"REDIS_PASSWORD"},
        "rabbitmq": {"RABBITMQ_PASSWORD"},
        "worker": servers,
        "web": servers,
        "flower": set(PASSWORDS),
    }


def test_servers_are_set_up_as_the_promises_need(services: dict[str, Any]) -> None:
    redis = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in redis
    assert "--maxmemory-policy noeviction" in redis
    assert f"--requirepass {PASSWORDS['REDIS_PASSWORD']}" in redis
    # RabbitMQ names its data's folder after the host: a new container has to find it again.
    assert services["rabbitmq"]["hostname"] == "rabbitmq"
    assert services["redis"]["volumes"]
    assert services["rabbitmq"]["volumes"]


def test_only_web_and_flower_are_reachable_and_only_from_this_machine(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(published) == {"web", "flower"}
    for ports in published.values():
        assert all("127.0.0.1" in json.dumps(port) for port in ports), ports


def test_the_image_is_not_root_and_is_told_that_it_is_one(dockerfile: str) -> None:
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == ["10001"]
    assert variables(dockerfile)["EVENTS_CONTAINER"] == "1"
    assert variables(dockerfile)["PYTHONUNBUFFERED"] == "1"


def test_the_build_gets_what_it_copies_and_nothing_else(dockerfile: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in ignored if line and not line.startswith("#")]
    context = exclude_paths(str(ROOT), patterns, dockerfile="Dockerfile")
    copied = sources(dockerfile)
    assert copied <= context
    # docker itself adds these two
    tops = {path.partition("/")[0] for path in context} - {"Dockerfile", ".dockerignore"}
    assert tops == copied
    assert not [path for path in context if "__pycache__" in path or path.endswith((".pyc", ".env"))]


@pytest.fixture
def image(dockerfile: str, tmp_path: Path) -> Path:
    """What the Dockerfile copies, and what it installs in a venv beside it, without Docker."""
    for source in sources(dockerfile):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = re.search(r"^RUN (/venv/bin/python -m pip install .+)$", dockerfile, re.MULTILINE)
    assert install
    # A path that does not show the project: nothing may come from it, or from what is installed for its tests.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = shlex.split(install[1].replace("/venv", str(tmp_path / "venv")))
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=170, check=False)
    assert ran.returncode == 0, ran.stderr
    for package in ("events_core", "events_worker"):
        shutil.rmtree(tmp_path / package)
    return tmp_path


def test_what_the_image_installs_is_all_that_it_needs(image: Path, dockerfile: str) -> None:
    """The venv of the tests holds more, and would hide a dependency that pyproject.toml does not name."""

    def run(*command: str, broker: str) -> subprocess.CompletedProcess[str]:
        env = {**variables(dockerfile), "PATH": "/usr/bin:/bin", "EVENTS_BROKER_URL": broker}
        program = str(image / "venv" / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]], env=env, cwd=image, capture_output=True, text=True, timeout=60, check=False
        )

    for broker in ("redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"):
        mapped = run("events", "map", broker=broker)
        assert mapped.returncode == 0, mapped.stderr
        assert "order.placed" in mapped.stdout
    imported = run("python", "-c", "import flower.command, examples.shop.web, uvicorn", broker="redis://127.0.0.1:1/0")
    assert imported.returncode == 0, imported.stderr

    refused = run("events", "worker", broker="embedded")
    assert refused.returncode == 1
    assert "refused in the container" in refused.stderr
