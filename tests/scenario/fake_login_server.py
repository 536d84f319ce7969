"""A server that speaks just enough of PostgreSQL's protocol to refuse a login, to let in and say its version, or to stay silent."""

import socket
import struct
import threading

from fake_backup_server import READY, cstring, message


def refusal(sqlstate, text, **more):
    """ErrorResponse, FATAL; `more` are fields by their letter (D="…" for the detail)."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text, **more, "F": "auth.c", "L": "326", "R": "auth_failed"}
    return message(b"E", b"".join(code.encode() + cstring(value) for code, value in fields.items()) + b"\0")


def welcome(server_version):
    """AuthenticationOk, the parameters, BackendKeyData, ReadyForQuery."""
    parameters = {"server_version": server_version, "client_encoding": "UTF8", "integer_datetimes": "on"}
    answer = message(b"R", struct.pack("!I", 0))
    for name, value in parameters.items():
        answer += message(b"S", cstring(name) + cstring(value))
    return answer + message(b"K", struct.pack("!II", 4711, 42)) + READY


class FakeLoginServer:
    """Listens on 127.0.0.1:<port> and answers each startup packet with `answer`; None: never. A context manager.

    startups   what each client sent in its startup packet, {keyword: value}
    """

    def __init__(self, answer=None):
        self.startups = []
        self._answer = answer
        self._clients = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in [self._listener, *self._clients]:
            each.close()

    def conninfo(self, **more):
        pairs = {"host": "127.0.0.1", "port": self.port, "user": "u", "dbname": "d", **more}
        pairs.update({"sslmode": "disable", "gssencmode": "disable"})
        return " ".join(f"{key}={value}" for key, value in pairs.items())

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client.makefile("rb") as stream:
                (size,) = struct.unpack("!I", stream.read(4))
                words = stream.read(size - 4)[4:].decode().split("\0")
                self.startups.append(dict(zip(words[0::2], words[1::2])))
                if self._answer is None:
                    return
                client.sendall(self._answer)
                if self._answer.startswith(b"E"):
                    client.close()
                else:
                    stream.read()  # until the client has had enough
        except (OSError, ValueError, struct.error):
            pass  # the client has had enough
