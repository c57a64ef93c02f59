"""Requests over the Pod's Unix socket, and the replies."""

import contextlib
import json
import os
import select
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

from sluice.lab.prober.lasting import LongLived
from sluice.lab.prober.loop import Loop
from sluice.lab.prober.naming import NameServer, Resolving
from sluice.lab.prober.pinging import Pingers
from sluice.lab.prober.probing import Probe, Settled
from sluice.lab.prober.sctp import Endpoints
from sluice.lab.prober.talking import Talk, once
from sluice.lab.prober.tries import Tries

Json = Mapping[str, Any]  # Any: JSON


class Desk:
    """Takes requests from any number of clients. Long-lived connections belong to the Pod, not to a client."""

    def __init__(self, loop: Loop, path: str, endpoints: Endpoints, names: NameServer | None = None) -> None:
        self._loop, self._endpoints, self._names = loop, endpoints, names
        self._pingers = Pingers(loop)
        self._long_lived: dict[str, LongLived | Talk] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(16)
        loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _: int) -> None:
        _Client(self._loop, self, self._listener.accept()[0])

    def ask(self, client: "_Client", request: Json) -> None:
        number, tries, timeout_s = request["id"], request.get("tries", 2), request.get("timeout_ms", 250) / 1000
        match request:
            case {"probe": list(probes)}:
                gathered = _Gathered(client, number, len(probes))
                for index, what in enumerate(probes):
                    self._probe(what, tries, timeout_s, gathered.at(index))
            case {"open": what}:
                settled = _Gathered(client, number, 1).at(0)
                self._close(what["name"])
                try:
                    connection = Talk(self._loop, what) if _asks(what) else LongLived(self._loop, what)
                except OSError as error:
                    settled("Error", os.strerror(error.errno or 0))
                else:
                    self._long_lived[what["name"]] = connection
                    _check(connection, what, tries, timeout_s, settled)
            case {"check": what}:
                settled = _Gathered(client, number, 1).at(0)
                if what["name"] in self._long_lived:
                    _check(self._long_lived[what["name"]], what, tries, timeout_s, settled)
                else:
                    settled("Error", f"no connection {what['name']} is open")
            case {"names": records} if self._names is not None:
                self._names.records = records
                client.send({"id": number, "results": []})
            case {"close": name}:
                self._close(name)
                client.send({"id": number, "results": []})

    def _probe(self, what: Json, tries: int, timeout_s: float, settled: Settled) -> None:
        """Dispatch by protocol and kind of question; a new kind needs a case here."""
        if what.get("resolve"):
            then = partial(self._probe_at, {**what, "resolve": None}, tries, timeout_s, settled)
            Resolving(self._loop, what, then, settled)
            return
        match what["protocol"]:
            case "ICMP":
                Tries(self._loop, partial(self._pingers.ask, what), tries, timeout_s, settled)
            case "SCTP":
                Tries(self._loop, partial(self._endpoints.ask, what), tries, timeout_s, settled)
            case _ if _asks(what):
                timeout_s = max(timeout_s, _least(what))
                Tries(self._loop, partial(once, self._loop, what, timeout_s), tries, timeout_s, settled)
            case _:
                Probe(self._loop, what, tries, timeout_s, settled)

    def _probe_at(self, what: Json, tries: int, timeout_s: float, settled: Settled, address: str) -> None:
        self._probe({**what, "address": address}, tries, timeout_s, settled)

    def _close(self, name: str) -> None:
        if connection := self._long_lived.pop(name, None):
            connection.close()


def _asks(what: Json) -> bool:
    return bool(what.get("requests")) or what.get("sni") is not None


def _least(what: Json) -> float:
    """The least time for one of its tries, in seconds."""
    seconds: float = what.get("least_ms", 0) / 1000
    return seconds


def _check(connection: LongLived | Talk, what: Json, tries: int, timeout_s: float, settled: Settled) -> None:
    match connection:
        case Talk():
            connection.ask(what, tries * max(timeout_s, _least(what)), settled)
        case LongLived():
            connection.check(tries, timeout_s, settled)


class _Client:
    def __init__(self, loop: Loop, desk: Desk, connection: socket.socket) -> None:
        self._loop, self._desk, self._connection = loop, desk, connection
        self._in = b""
        loop.watch(connection.fileno(), select.EPOLLIN, self._ready)

    def _ready(self, _: int) -> None:
        data = self._connection.recv(65_536)
        if not data:
            self._loop.forget(self._connection.fileno())
            self._connection.close()
            return
        *lines, self._in = (self._in + data).split(b"\n")
        for line in lines:
            self._desk.ask(self, json.loads(line))

    def send(self, answer: Json) -> None:
        with contextlib.suppress(OSError):  # the client has gone
            self._connection.sendall(json.dumps(answer).encode() + b"\n")


class _Gathered:
    """The results of one request, sent when all are there."""

    def __init__(self, client: _Client, request: int, count: int) -> None:
        self._client, self._request = client, request
        self._results: list[dict[str, str] | None] = [None] * count
        self._missing = count
        if not count:
            self._client.send({"id": request, "results": []})

    def at(self, index: int) -> Settled:
        def settled(result: str, detail: str) -> None:
            self._results[index] = {"result": result, "detail": detail}
            self._missing -= 1
            if not self._missing:
                self._client.send({"id": self._request, "results": self._results})

        return settled
