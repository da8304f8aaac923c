"""Many strangers' connections at once, on one thread, each played by a script.

A script is a generator with a `Peer` in its hands. It sends by the peer's methods and yields what it waits for: `(ready, seconds)`,
where `ready` is a function that is called whenever something happened, or None for time alone. What the yield returns says whether it
became true in time; the end of the connection makes everything true.
"""

import collections
import heapq
import itertools
import random
import select
import socket
import ssl
import struct
import time

from answers import Answers
from frames import Judge

from harness.client import SLOWDOWN

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANG = 5 * SLOWDOWN  # seconds without an answer that make a finding
# One below the other: each address has ports of its own, and a closed one rests for a minute.
SOURCES = 200
BURST = 8  # connections that begin in one turn
TURN = 0.05  # seconds that a turn may wait
_BIND_ADDRESS_NO_PORT = 24

RESET = struct.pack("ii", 1, 0)


class Gone(Exception):
    """Nobody listens at the server's port."""


def shown(way, data):
    return f"{way} {data[:600].hex()}{'…' if len(data) > 600 else ''} ({len(data)} bytes)"


class Peer:
    """One connection. `number` and the seed determine what it does."""

    def __init__(self, seed, number, place):
        self.number = number
        self.place = place
        self.rng = random.Random(f"{seed}/{number}")
        self.judge = Judge()
        self.answers = Answers(KEY)
        self.complaints = []
        self.trace = None  # a list, if somebody wants to read what happened
        self.ended = None  # how: "end", "reset" and why, or "closed" by us
        self.begun = time.monotonic()
        self.out = bytearray()
        self.deaf = False
        self.sock = self._connect()

    def _connect(self):
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.1.{1 + self.number % SOURCES}", 0))
        sock.settimeout(HANG)
        try:
            sock.connect(("127.0.0.1", self.place.port))
        except ConnectionRefusedError:
            raise Gone from None
        except OSError as error:
            self.complain(f"cannot connect: {error}")
            self.ended = "reset"
        sock.setblocking(False)
        return sock

    def is_late(self, seconds):
        """Whether it has been there so long already, which may be the machine's doing."""
        return time.monotonic() - self.begun > seconds

    def complain(self, what):
        self.complaints.append(what)
        self.tell(f"FINDING {what}")

    def tell(self, what):
        if self.trace is not None:
            self.trace.append(f"{time.monotonic() - self.begun:7.3f} {what}")

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, data):
        """Goes out as far as the socket takes it now; the rest follows when it is writable."""
        if self.ended:
            return
        if self.trace is not None:
            self.tell(shown(">", data))
        self.out += data
        self.flush()

    def flush(self):
        try:
            while self.out and not self.ended:
                del self.out[: self.sock.send(self.out)]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except (OSError, ssl.SSLError):
            # The server has closed its side. What it said before is still there to read, but no more so through TLS.
            self.out.clear()
            if self.has_tls:
                self.judge.anything_goes()

    def send_under_tls(self, data):
        """Past the TLS session, as somebody on the way could."""
        self.tell(f"> under TLS {data[:96].hex()} ({len(data)} bytes)")
        try:
            socket.socket.send(self.sock, data)
        except OSError:
            pass

    def half_close(self):
        self.tell("> half-close")
        self._quietly(socket.socket.shutdown, self.sock, socket.SHUT_WR)

    def say_end_of_tls(self):
        self.tell("> close_notify")
        self._quietly(self.sock.unwrap)

    def reset(self):
        self.tell("> reset")
        self._quietly(socket.socket.setsockopt, self.sock, socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self):
        if not self.ended:
            self.tell("> close")
            self.ended = "closed"
        self.out.clear()
        self.sock.close()

    @staticmethod
    def _quietly(call, *args):
        try:
            call(*args)
        except (OSError, ssl.SSLError):
            pass

    # --- TLS -----------------------------------------------------------------------------------------------------

    @property
    def has_tls(self):
        return isinstance(self.sock, ssl.SSLSocket)

    def begin_tls(self):
        """False if there is nobody to begin it with."""
        try:
            self.sock = self.place.tls.wrap_socket(self.sock, do_handshake_on_connect=False)
        except OSError:
            self.end("reset")
        return not self.ended

    def shake_hands(self):
        """True when TLS is there."""
        try:
            self.sock.do_handshake()
            return True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (OSError, ssl.SSLError) as error:
            self.end("reset")
            self.tell(f"< {error}")
            return True

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self):
        while not self.ended:
            try:
                data = self.sock.recv(16384)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (OSError, ssl.SSLError) as error:
                self.end(f"reset, {error}")
                return
            if not data:
                self.end("end")
                return
            if self.trace is not None:
                self.tell(shown("<", data))
            self.answers.feed(data)

    def end(self, how):
        self.tell(f"< {how}")
        self.ended = how


class Engine:
    """Plays connections by their numbers, at most `crowd` at a time."""

    def __init__(self, place, seed, script, crowd, trace=False):
        self.place, self.seed, self.script, self.crowd, self.trace = place, seed, script, crowd, trace
        self.live = {}  # fd → (peer, its script, what it waits for)
        self.findings = []  # (when, number, what)
        self.done = 0
        self._over = collections.deque(maxlen=8 * crowd)  # (when, number) of those that ended last
        self._poll = select.epoll()
        self._deadlines = []
        # Seconds by which deadlines are judged. A turn counts for TURN at most: what takes longer is this process's own slowness, and
        # no server's.
        self._clock = 0
        self._turned = time.monotonic()
        self._order = itertools.count()

    def run(self, numbers, each_turn=lambda: None):
        """Plays them all. Raises Gone when nobody listens."""
        exhausted = False
        while not exhausted or self.live:
            for _ in range(min(BURST, self.crowd - len(self.live))):
                number = next(numbers, None)
                if number is None:
                    exhausted = True
                    break
                self._begin(number)
            self._turn()
            each_turn()

    def under_way(self, seconds=0):
        """Numbers of the connections that are there, or were there so many seconds ago, in the order of their ends."""
        since = time.monotonic() - seconds
        return [number for when, number in self._over if when > since] + [peer.number for peer, *_ in self.live.values()]

    def _begin(self, number):
        peer = Peer(self.seed, number, self.place)
        if self.trace:
            peer.trace = []
        script = self.script(peer)
        fd = peer.sock.fileno()
        self.live[fd] = (peer, script, None, 0)
        self._poll.register(fd, select.EPOLLIN)
        self._resume(fd, None)

    def _turn(self):
        wait = self._deadlines[0][0] - self._clock if self._deadlines else TURN
        for fd, events in self._poll.poll(min(max(wait, 0), TURN)):
            if fd in self.live:
                self._look(fd, events)
        now = time.monotonic()
        self._clock += min(now - self._turned, TURN)
        self._turned = now
        while self._deadlines and self._deadlines[0][0] <= self._clock:
            _, turn, fd = heapq.heappop(self._deadlines)
            if fd in self.live and self.live[fd][3] == turn:
                self._resume(fd, False)

    def _look(self, fd, events):
        peer, _, ready, _ = self.live[fd]
        if events & select.EPOLLOUT:
            peer.flush()
        if not peer.deaf:
            peer.read()
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            peer.end("reset")
        if peer.ended or (ready is not None and ready()):
            self._resume(fd, True)
        else:
            self._watch(fd, peer)

    def _resume(self, fd, result):
        """Runs the script up to its next wait that is not over at once."""
        peer, script, _, _ = self.live[fd]
        while True:
            try:
                ready, seconds = script.send(result)
            except StopIteration:
                self._finish(fd)
                return
            if not peer.ended and (ready is None or not ready()):
                break
            result = True
        turn = next(self._order)
        self.live[fd] = (peer, script, ready, turn)
        heapq.heappush(self._deadlines, (self._clock + seconds, turn, fd))
        self._watch(fd, peer)

    def _watch(self, fd, peer):
        self._poll.modify(fd, (0 if peer.deaf else select.EPOLLIN) | (select.EPOLLOUT if peer.out else 0))

    def _finish(self, fd):
        peer = self.live.pop(fd)[0]
        peer.close()
        self.done += 1
        now = time.monotonic()
        self._over.append((now, peer.number))
        self.findings += [(now, peer.number, what) for what in peer.complaints + peer.answers.complaints]
        if self.trace:
            print(f"connection {peer.number}", *peer.trace, sep="\n", flush=True)
