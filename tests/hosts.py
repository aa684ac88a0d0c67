"""Two hosts on this machine: network namespaces with their own addresses, joined by a virtual cable."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Host:
    name: str
    interface: str
    address: str

    def command(self, *arguments: str) -> list[str]:
        """As typed on that host."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def kill(self) -> None:
        """All that runs there, at once, as when the power fails."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for process in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)


@contextmanager
def two_hosts(prefix: str, network: str) -> Iterator[tuple[Host, Host]]:
    """`network` holds the first three numbers of the addresses. Skips the test where this can't be done."""
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    hosts = [
        Host(f"{prefix}-{letter}", f"{prefix}-{letter}0", f"{network}.{n}")
        for n, letter in ((1, "a"), (2, "b"))
    ]
    first, second = hosts
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        _ip("link", "add", first.interface, "type", "veth", "peer", "name", second.interface)
        for host in hosts:
            _ip("link", "set", host.interface, "netns", host.name)
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.interface)
            for name in ("lo", host.interface):
                _ip("-n", host.name, "link", "set", name, "up")
    except subprocess.CalledProcessError as error:
        _remove(hosts)
        pytest.skip(f"no right to make network namespaces: {error.stderr.decode().strip()}")
    try:
        yield first, second
    finally:
        for host in hosts:
            host.kill()
        _remove(hosts)


def _remove(hosts: list[Host]) -> None:
    for host in hosts:
        _ip("netns", "del", host.name, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
