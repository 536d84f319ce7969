"""A server that speaks just enough of PostgreSQL's protocol to refuse a login, to let in and say its version, or to stay silent."""

import struct

from tcp_listener import TcpListener


class FakeLoginServer(TcpListener):
    """Answers each startup packet with `answer` (server_messages.refusal(…), welcome(…)); None: never.

    startups   what each client sent in its startup packet, {keyword: value}
    """

    def __init__(self, answer=None):
        self.startups = []
        self._answer = answer
        super().__init__()

    def conninfo(self, **more):
        pairs = {"host": "127.0.0.1", "port": self.port, "user": "u", "dbname": "d", **more}
        pairs.update({"sslmode": "disable", "gssencmode": "disable"})
        return " ".join(f"{key}={value}" for key, value in pairs.items())

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
