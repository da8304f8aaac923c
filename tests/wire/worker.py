"""One process of the fuzzer: plays its share of the connections against one server, and reports through a pipe.

Half of a run's connections are TLS: those with odd numbers. So a number says which server it belongs to.
"""

import collections
import ssl
import time

import script
from peer import Engine, Gone

REPORT = 0.5  # seconds between two reports
# A finding is kept so long: if the server turns out to be gone, that connections broke off is no news.
KEPT = 2

Place = collections.namedtuple("Place", "port tls hello")
Report = collections.namedtuple("Report", "done findings suspects gone")
Share = collections.namedtuple("Share", "port tls seed numbers crowd")


def place(port, tls):
    """The server, and what a client's first bytes of TLS look like."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return Place(port, context if tls else None, outgoing.read())


def is_tls(number):
    return number % 2 == 1


def work(share, pipe):
    """Plays the share. It ends when all are played, when the pipe says anything, or when the server is gone."""
    engine = Engine(place(share.port, share.tls), share.seed, script.play, share.crowd)
    reporter = Reporter(engine, pipe)
    try:
        engine.run(_until(share.numbers, pipe), reporter.perhaps)
        reporter.report(last=True)
    except Gone:
        reporter.report(gone=True)
    pipe.close()


def _until(numbers, pipe):
    """The numbers, until the pipe says to stop: then those that are under way are finished."""
    for number in numbers:
        if pipe.poll():
            return
        yield number


class Reporter:
    def __init__(self, engine, pipe):
        self._engine, self._pipe, self._at = engine, pipe, 0

    def perhaps(self):
        if time.monotonic() - self._at > REPORT:
            self.report()

    def report(self, last=False, gone=False):
        engine, now = self._engine, time.monotonic()
        self._at = now
        told = [] if gone else [finding for finding in engine.findings if last or now - finding[0] > KEPT]
        engine.findings = [finding for finding in engine.findings if finding not in told]
        suspects = engine.under_way(KEPT) if gone else []
        self._pipe.send(Report(engine.done, [(number, what) for _, number, what in told], suspects, gone))
