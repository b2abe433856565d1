"""Ports that no other process gets by chance."""

from __future__ import annotations

import socket
from pathlib import Path

from rlvr.cluster.processes import PORTS, free_port


def test_a_free_port_is_free_and_not_one_that_linux_gives_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert PORTS[-1] < lowest
    port = free_port()
    assert port in PORTS
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_a_port_in_use_is_not_chosen() -> None:
    with socket.socket() as server:
        server.bind(("", free_port(host="")))
        assert server.getsockname()[1] not in {free_port(host="") for _ in range(50)}
