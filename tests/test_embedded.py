"""The private server: it answers, it says why it does not, and it never outlives its owner."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import unavailable

from connector import embedded
from connector.embedded import EmbeddedServer, serve
from connector.errors import (
    MissingDependencyError,
    OptionError,
    StoreTimeoutError,
    StoreUnavailableError,
)


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_it_answers_and_is_gone_after_the_block() -> None:
    with serve() as server:
        directory = server.socket_path.parent
        with client(server) as redis_client:
            assert redis_client.info("server")["process_id"] == server.pid
            assert redis_client.config_get("save") == {"save": ""}
            assert redis_client.config_get("appendonly") == {"appendonly": "no"}
            assert redis_client.config_get("bind") == {"bind": "127.0.0.1"}
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not alive(server.pid)
    assert not directory.exists()
    server.stop()


def test_a_unix_socket_alone() -> None:
    with serve(unix_socket=True) as server, client(server) as redis_client:
        assert server.port == 0
        assert server.url == f"unix://{server.socket_path}"
        assert redis_client.ping()


def test_a_password_and_further_configuration() -> None:
    secret = 'a b"c:%/@é\\'
    with serve(password=secret, config=["maxmemory 12mb", 'save ""']) as server:
        with client(server) as redis_client:
            assert redis_client.config_get("maxmemory") == {"maxmemory": str(12 << 20)}
        assert secret not in repr(server)
        shown = Path(f"/proc/{server.pid}/cmdline")
        assert not shown.exists() or secret.encode() not in shown.read_bytes()
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_a_given_binary() -> None:
    if shutil.which("redis-server") is None:
        unavailable("redis", "redis-server is not installed")
    with serve("redis-server") as server, client(server) as redis_client:
        assert "valkey_version" not in redis_client.info("server")


def test_a_binary_that_is_not_there() -> None:
    with pytest.raises(OptionError, match="no server binary '/nowhere/valkey-server'"):
        serve("/nowhere/valkey-server")


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_text("no program")
    binary.chmod(0o700)
    with pytest.raises(StoreUnavailableError, match="could not be run: .*Exec format error"):
        serve(binary)


def test_a_binary_whose_run_bit_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = Path(shutil.copy(embedded.wheel_binary(), tmp_path))
    binary.chmod(0o400)
    monkeypatch.setattr(embedded, "wheel_binary", lambda: binary)
    with serve() as server, client(server) as redis_client:
        assert redis_client.ping()
    assert not os.access(binary, os.X_OK)


def test_the_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'kvlake\[embedded\]'"):
        serve()


def test_a_port_in_use_shows_the_log() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StoreUnavailableError, match=rf"{port}(?s:.)*Address already in use"):
            serve(port=port)


def test_another_server_at_the_port_is_not_taken_for_ours() -> None:
    with serve() as first, pytest.raises(StoreUnavailableError, match="Address already in use"):
        serve(port=first.port)


def test_bad_configuration_shows_the_log() -> None:
    with pytest.raises(StoreUnavailableError, match="no-such-setting"):
        serve(config=["no-such-setting yes"])


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_text("#!/bin/sh\necho $$ > pid-$$\necho thinking\nexec sleep 60\n")
    binary.chmod(0o700)
    with pytest.raises(StoreTimeoutError, match="within 0.5 seconds(?s:.)*thinking"):
        serve(binary, timeout_seconds=0.5)


def test_it_outlives_the_thread_that_started_it() -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(serve()))
    thread.start()
    thread.join()
    with started[0] as server, client(server) as redis_client:
        time.sleep(0.5)
        assert redis_client.ping()


def test_a_forked_child_cannot_stop_it() -> None:
    with serve() as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        os.waitpid(child, 0)
        with client(server) as redis_client:
            assert redis_client.ping()


def test_it_stops_while_a_forked_child_lives_on() -> None:
    with serve() as server:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        assert not alive(server.pid)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


OWNER = """
    import os, time
    from connector.embedded import serve
    server = serve(unix_socket={unix_socket})
    child = os.fork() if {forks} else 0
    if child or not {forks}:
        print(server.pid, server.socket_path.parent, child, flush=True)
    {then}
"""


@pytest.mark.parametrize("forks", [False, True], ids=["alone", "with a living forked child"])
@pytest.mark.parametrize("unix_socket", [False, True])
def test_kill_9_of_the_owner_leaves_nothing(forks: bool, unix_socket: bool) -> None:
    script = textwrap.dedent(OWNER).format(
        forks=forks, unix_socket=unix_socket, then="time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, directory, child = owner.stdout.readline().split()
        assert alive(int(pid))
        owner.kill()
        try:
            assert within(5, lambda: not alive(int(pid)) and not Path(directory).exists())
        finally:
            if int(child):
                os.kill(int(child), signal.SIGKILL)


def test_an_owner_that_just_ends_leaves_nothing() -> None:
    script = textwrap.dedent(OWNER).format(forks=False, unix_socket=True, then="")
    command = [sys.executable, "-W", "ignore", "-c", script]
    pid, directory, _ = subprocess.check_output(command, text=True).split()
    assert within(5, lambda: not alive(int(pid)) and not Path(directory).exists())


def test_the_end_of_the_server_removes_the_directory() -> None:
    with serve() as server:
        os.kill(server.pid, signal.SIGKILL)
        assert within(5, lambda: not server.socket_path.parent.exists())
