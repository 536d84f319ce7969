"""A TCP hop between a client and a server, which can hold, damage or cut what the server sends."""

import socket
import threading

from tcp_listener import TcpListener, shut


class TcpProxy(TcpListener):
    """Forwards connections on 127.0.0.1:<port>.

    hold_at   after that many bytes from the server, it stops until release(); `held` is set then
    hold_in   the same, inside or right before the first occurrence of these bytes
    replace   (old, new) of the same length: the first occurrence in what the server sends is replaced
    """

    def __init__(self, target_port, *, hold_at=None, hold_in=None, replace=None):
        self.held = threading.Event()
        self.replaced = False
        self.bytes_from_server = 0
        self._target_port = target_port
        self._hold_at = hold_at
        self._hold_in = hold_in
        self._end_of_last_chunk = b""
        self._replace = replace
        self._released = threading.Event()
        super().__init__()

    def release(self):
        self._released.set()

    def close(self):
        self.release()
        super().close()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            return shut(client)
        self._sockets.append(server)
        threading.Thread(target=self._pump, args=(client, server, lambda chunk: [chunk]), daemon=True).start()
        self._pump(server, client, self._from_server)

    @staticmethod
    def _pump(source, sink, pieces_of):
        try:
            while chunk := source.recv(65536):
                for piece in pieces_of(chunk):
                    sink.sendall(piece)
        except OSError:
            pass
        shut(source)
        shut(sink)

    def _from_server(self, chunk):
        before = self.bytes_from_server
        self.bytes_from_server += len(chunk)
        if self._replace and not self.replaced and self._replace[0] in chunk:
            chunk = chunk.replace(*self._replace, 1)
            self.replaced = True
        if self._hold_in:
            found = (self._end_of_last_chunk + chunk).find(self._hold_in)
            if found >= 0:
                self._hold_at = before + max(0, found - len(self._end_of_last_chunk))
                self._hold_in = None
            self._end_of_last_chunk = chunk[-100:]
        if self._hold_at is not None and before <= self._hold_at < self.bytes_from_server:
            yield chunk[: self._hold_at - before]
            self.held.set()
            self._released.wait()
            chunk = chunk[self._hold_at - before :]
        yield chunk
