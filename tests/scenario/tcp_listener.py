"""What the fake servers and the TCP hop share: listening on a port, and a thread for each client."""

import socket
import threading


class TcpListener:
    """Listens on 127.0.0.1:<port>; subclasses have _serve(client). A context manager."""

    def __init__(self):
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for each in [self._listener, *self._sockets]:
            shut(each)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()


def shut(each):
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    each.close()
