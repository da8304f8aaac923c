"""A TCP proxy before PostgreSQL, for what a server in between changes: a pooler that carries no replication, an old server."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def proxy(port, request=None, answer=None, greeting=None):
    """Forwards connections to 127.0.0.1:port; yields the port to connect to. A function instead of the port is asked for each
    connection, with the first bytes of the client: a later answer leaves earlier connections where they are.

    request(first bytes of the client) gives an answer instead of forwarding, or None; answer(bytes of the server) gives what
    the client receives; greeting(first bytes of the client) gives what the server receives in their place. What has a state has one for each connection: then answer is a class of those functions.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, port, request, answer, greeting), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _accept(listener, port, request, answer, greeting):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, port, request, answer, greeting), daemon=True).start()


def _serve(client, port, request, answer, greeting):
    with client, contextlib.suppress(OSError):  # nobody listens there, or one of the two went away: then so does the other
        _forward(client, port, request, answer, greeting)


def _forward(client, port, request, answer, greeting):
    first = client.recv(8192)
    if first[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest: no
        client.sendall(b"N")
        first = client.recv(8192)
    reply = request(first) if request else None
    if reply is not None:
        client.sendall(reply)
        return
    with socket.create_connection(("127.0.0.1", port(first) if callable(port) else port)) as server:
        server.sendall(greeting(first) if greeting else first)
        change = answer() if isinstance(answer, type) else answer
        back = threading.Thread(target=_pump, args=(server, client, change), daemon=True)
        back.start()
        _pump(client, server, None)
        back.join()


def _pump(source, sink, change):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(change(data) if change else data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def without_options(first):
    """As `greeting`: what a pooler does that is told to ignore the startup parameter `options`."""
    texts = first[8:].split(b"\0")
    pairs = [(k, v) for k, v in zip(texts[::2], texts[1::2]) if k and k != b"options"]
    body = first[4:8] + b"".join(k + b"\0" + v + b"\0" for k, v in pairs) + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def error_response(state, text):
    """FATAL, as PostgreSQL's protocol says it."""
    body = b"SFATAL\0VFATAL\0C" + state.encode() + b"\0M" + text.encode() + b"\0\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


def tampering(change):
    """A stand-in for the server's stream, as `answer` of proxy: change(record) of each record that the plugin printed gives the
    record that comes instead, None (as it is), or an Ending: that error ends the stream there."""

    class Tampering:
        def __init__(self):
            self.buffer = b""
            self.over = False

        def __call__(self, data):
            self.buffer += data
            out = []
            while not self.over and len(self.buffer) >= 5:
                end = 1 + int.from_bytes(self.buffer[1:5], "big")
                if len(self.buffer) < end:
                    break
                message, self.buffer = self.buffer[:end], self.buffer[end:]
                out.append(self.message(message))
            return b"".join(out)

        def message(self, message):
            if message[:1] != b"d" or message[5:6] != b"w":
                return message
            change_to = change(message[30:])
            if change_to is None:
                return message
            if isinstance(change_to, Ending):
                self.over = True
                return change_to.response
            body = message[5:30] + change_to
            return b"d" + (len(body) + 4).to_bytes(4, "big") + body

    return Tampering


class Ending:
    """The error with which the server ends a stream."""

    def __init__(self, state, text):
        self.response = error_response(state, text)
