"""A TCP proxy before PostgreSQL, for what a server in between changes: a pooler that carries no replication, an old server."""

import contextlib
import socket
import threading


@contextlib.contextmanager
def proxy(port, request=None, answer=None):
    """Forwards connections to 127.0.0.1:port; yields the port to connect to.

    request(first bytes of the client) gives an answer instead of forwarding, or None; answer(bytes of the server) gives what
    the client receives.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, port, request, answer), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _accept(listener, port, request, answer):
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, port, request, answer), daemon=True).start()


def _serve(client, port, request, answer):
    first = client.recv(8192)
    if first[4:8] == b"\x04\xd2\x16\x2f":  # SSLRequest: no
        client.sendall(b"N")
        first = client.recv(8192)
    reply = request(first) if request else None
    if reply is not None:
        client.sendall(reply)
        client.close()
        return
    server = socket.create_connection(("127.0.0.1", port))
    server.sendall(first)
    back = threading.Thread(target=_pump, args=(server, client, answer), daemon=True)
    back.start()
    _pump(client, server, None)
    back.join()
    client.close()
    server.close()


def _pump(source, sink, change):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(change(data) if change else data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def error_response(state, text):
    """FATAL, as PostgreSQL's protocol says it."""
    body = b"SFATAL\0VFATAL\0C" + state.encode() + b"\0M" + text.encode() + b"\0\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body
