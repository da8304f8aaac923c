"""Several sidecars on one slot and one Redis: to the test what one sidecar is, but that each thing befalls one of them."""

import random

from redises import Redises
from sidecar import Sidecar, config

from throwaway.config import Raw


class Fleet:
    def __init__(self, app, directory, url, n, seed):
        self.app = app
        self.redis = Redises()
        made = config().set("relay", Raw(f'{{ url = "{self.redis.url}" }}'))
        self.all = [Sidecar(app, directory / f"replica-{i}", url, made) for i in range(n)]
        self.random = random.Random(f"{seed}/fleet")
        self._gone = []  # killed or stopped, and not started again yet

    @property
    def port(self):
        """A load balancer without a memory."""
        return self.random.choice(self.all).port

    def token(self, user):
        return self.all[0].token(user)

    def start(self, streaming=False):
        if not self.redis.started:
            self.redis.start()
            self.all[0].start(streaming=streaming)
            self._gone = self.all[1:]
        while self._gone:
            self._gone.pop().start()

    def _one(self):
        return self.random.choice(self.all)

    def kill(self):
        one = self._one()
        one.kill()
        self._gone.append(one)

    def stop(self):
        one = self._one()
        one.stop()
        self._gone.append(one)

    def replace(self):
        self._one().replace()

    def freeze(self, everyone=False):
        """Returns what ends it."""
        thaws = [one.freeze() for one in (self.all if everyone else [self._one()])]
        return lambda: [thaw() for thaw in thaws]

    def died(self):
        return next((log for log in (one.died() for one in self.all) if log), None)

    def wait_for_streaming(self):
        if not self.redis.running:
            self.redis.start()
        self.all[0].wait_for_streaming()

    def end(self):
        for one in self.all:
            one.end()
        self.redis.end()

    def passed_over(self):
        return set().union(*(one.passed_over() for one in self.all))
