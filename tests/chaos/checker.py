"""Did every client hear what it had to hear? Pure: what was committed, and what each client saw, in; violations out.

Words. A *notice* is what one committed row change must cause: one message for one set of groups (a row that changes
unit causes two: `moved` for the unit it left, `updated` for the one it joined). The truth is all notices in the order of
their commits, with each commit's LSN, which event ids carry too. A client's history is what it saw, over all connections.

A client owes no account of what was committed before its first `connection_established`. From there on, each notice for
one of its groups is delivered exactly once and in order, or covered. It is covered by
  - `connection_established` without `resumed`, or a `resync`, with an id behind the notice's commit. Both mean:
    refetch, and whoever refetches reads every commit below the id. "L-0" stands before commit L; "L-k" for k > 0 in it,
    and since a transaction is published whole, a refetch then reads all of commit L.
  - a bulk message of the same commit and type, whose count must be the number of notices that it stands for.
    Whoever comes back may be told it once more, under a later id.
With several replicas, who comes without `since` begins anew: one that has not read as far as another may tell again what is behind
the id of its `connection_established`.
That the refetch reads all that its id promises is another test's business: tests/integration/test_refetch.py.

Where a lookup's answer depends on when it is asked, the notice names groups that may get it: at most once and in order
like all others, but nothing is owed them.

TRUNCATE is a notice that no message can deliver; only a resync covers it.

A row that is too large to be decoded is a notice like all others; nothing but a resync in its commit, or one behind, covers it.

Violations: lost, duplicated, out of order, leaked (the notice is another group's), uncommitted (no such notice),
miscounted (a bulk), renumbered (the same notice under two ids: resuming counts on ids), broken resume, unfounded (a resync
says that a row of the commit was stepped over, and the commit has none that is large).
"""

import collections
from typing import NamedTuple, Optional

TRUNCATED = "truncated"
SKIPPED = "skipped"  # a resync's reason: with an index it stands for rows of its commit


class Id(NamedTuple):
    lsn: int
    index: int

    @classmethod
    def parse(cls, text):
        lsn, _, index = text.partition("-")
        high, _, low = lsn.partition("/")
        return cls(int(high, 16) << 32 | int(low, 16), int(index))

    def __str__(self):
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}-{self.index}"


class Notice(NamedTuple):
    commit: int  # LSN
    order: int  # within its commit
    type: str  # request, crate, …
    op: str  # created, updated, deleted, moved, TRUNCATED
    key: Optional[int]
    uid: Optional[int]  # of the change; None where a message does not show it
    groups: frozenset  # a TRUNCATE's: prefixes
    may: frozenset = frozenset()  # groups that may get it, because they depend on when a lookup was asked

    def may_concern(self, groups):
        return not self.may.isdisjoint(groups)

    def concerns(self, groups):
        if self.op == TRUNCATED:
            return any(group.startswith(prefix) for group in groups for prefix in self.groups)
        return not self.groups.isdisjoint(groups)


# What a client saw.
class Hello(NamedTuple):
    id: Id
    resumed: bool
    since: Optional[Id]  # what the client asked for


class Seen(NamedTuple):
    id: Id
    type: str
    op: str
    key: Optional[int]
    uid: Optional[int]


class Bulk(NamedTuple):
    id: Id
    type: str
    count: int


class Resync(NamedTuple):
    id: Id
    reason: str


class Gone(NamedTuple):
    code: int


class Violation(NamedTuple):
    kind: str
    client: str
    what: str

    def __str__(self):
        return f"{self.kind}: {self.client}: {self.what}"


class Truth:
    """All notices, in commit order, and the commits with a row that may be stepped over. From commit `end` on they may be heard,
    but need not."""

    def __init__(self, notices, large=frozenset(), end=None, replicas=False):
        self.large, self.end, self.replicas = large, end, replicas
        self.notices = sorted(notices, key=lambda n: (n.commit, n.order))
        self.by_commit = collections.defaultdict(list)
        for notice in self.notices:
            self.by_commit[notice.commit].append(notice)


def fits(notice, seen):
    """Whether the message can be this notice's."""
    return (notice.type, notice.op, notice.key) == (seen.type, seen.op, seen.key) and (
        seen.uid is None or seen.uid == notice.uid
    )


class ClientCheck:
    """One client's history against the truth; `violations` and `delivered` (notice → id) afterwards."""

    def __init__(self, name, groups, history, truth):
        self.name, self.groups, self.truth = name, frozenset(groups), truth
        self.violations = []
        self.delivered = {}
        self.bulks = {}  # (commit, type) → Bulk
        self.hellos, self.told_in = 0, {}  # how many connections; of a bulk message: in which
        self.unsure = set()  # notices of `delivered` that may be others
        self.repeatable = set()  # notices that a replica further back may tell once more
        self.refetched = 0  # notices that only a refetch told of
        self.first = None  # where the account begins
        self.covered = 0  # commits below this were refetched
        self.last = Id(0, 0)  # of the messages
        self.known = set()  # ids that may be resumed from
        self.history = history
        for i, event in enumerate(history):
            getattr(self, "_" + type(event).__name__.lower())(i, event)
        self._account()

    def _blame(self, kind, what):
        self.violations.append(Violation(kind, self.name, what))

    def _cover(self, id):
        self.covered = max(self.covered, id.lsn + (1 if id.index else 0))

    # --- events, in the order they came ------------------------------------------------------------------------

    def _hello(self, i, hello):
        self.hellos += 1
        if hello.resumed:
            if hello.id != hello.since or hello.since not in self.known:
                self._blame("broken resume", f"#{i} {hello}")
        else:
            self._cover(hello.id)
            self.last = hello.id
            if self.truth.replicas:
                self.repeatable = {n for n, id in self.delivered.items() if id.lsn >= hello.id.lsn}
                self.bulks = {at: bulk for at, bulk in self.bulks.items() if at[0] < hello.id.lsn}
        if self.first is None:
            self.first = hello.id
        self.known.add(hello.id)

    def _gone(self, i, gone):
        pass

    def _resync(self, i, resync):
        if resync.id < self.last:
            self._blame("out of order", f"#{i} {resync} behind {self.last}")
        if resync.reason == SKIPPED and resync.id.index and resync.id.lsn not in self.truth.large:
            self._blame("unfounded", f"#{i} {resync}")
        self._cover(resync.id)
        if resync.id.index:  # it stands in the log; one without an index is said beside it
            self.last = resync.id
        self.known.add(resync.id)

    def _bulk(self, i, bulk):
        at = bulk.id.lsn, bulk.type
        # Its number depends on what lookups answered, and after a crash they are asked again: who comes back may be told once more.
        if at in self.bulks and (self.told_in[at] == self.hellos or bulk.id <= self.bulks[at].id):
            self._blame("duplicated", f"#{i} {bulk}")
        elif bulk.id <= self.last:
            self._blame("out of order", f"#{i} {bulk} behind {self.last}")
        if bulk.id.lsn not in self.truth.by_commit:
            self._blame("uncommitted", f"#{i} {bulk}")
        self.bulks[at] = bulk
        self.told_in[at] = self.hellos
        self.last = max(self.last, bulk.id)
        self.known.add(bulk.id)

    def _seen(self, i, seen):
        if not self.known:
            self._blame("broken resume", f"#{i} {seen} before any connection_established")
        self.known.add(seen.id)
        behind = seen.id <= self.last
        self.last = max(self.last, seen.id)
        candidates = [n for n in self.truth.by_commit.get(seen.id.lsn, ()) if fits(n, seen)]
        mine = [n for n in candidates if n.concerns(self.groups) or n.may_concern(self.groups)]
        # Of several alike (a row updated twice, its text left out) the first that was not delivered.
        new = next((n for n in mine if n not in self.delivered or n in self.repeatable), None)
        if not mine:
            kind = "leaked" if candidates else "uncommitted"
            self._blame(kind, f"#{i} {seen}" + "".join(f" is {n}" for n in candidates))
        elif new is None:
            self._blame("duplicated", f"#{i} {seen}, first as {self.delivered[mine[0]]}")
        elif seen.uid is None and len(mine) > 1 and not all(n.concerns(self.groups) for n in mine):
            self.unsure.add(new)  # of several alike, some need not come: nobody can tell which this is
            self.delivered[new] = seen.id
        else:
            if behind or any(n.order > new.order for n in self.delivered_of(seen.id.lsn)):
                self._blame("out of order", f"#{i} {seen} is {new}, behind {self.last}")
            self.delivered[new] = seen.id
            self.repeatable.discard(new)

    def delivered_of(self, commit):
        sure = self.delivered.keys() - self.repeatable - self.unsure
        return [n for n in self.truth.by_commit[commit] if n in sure]

    # --- what did not come -------------------------------------------------------------------------------------

    def _account(self):
        if self.first is None:
            self._blame("lost", "it was never admitted")
            return
        left_out, perhaps = collections.Counter(), collections.Counter()
        for n in self.truth.notices:
            if self.truth.end is not None and n.commit >= self.truth.end:
                break
            if n.commit < self.first.lsn or n in self.delivered:
                continue
            if not n.concerns(self.groups):
                perhaps[n.commit, n.type] += n.may_concern(self.groups)
                continue
            left_out[n.commit, n.type] += 1
            if n.commit < self.covered or n.op != TRUNCATED and (n.commit, n.type) in self.bulks:
                self.refetched += 1
            else:
                self._blame("lost", f"{Id(n.commit, 0)} {n}; {self._around(n.commit)}")
        for at, bulk in self.bulks.items():
            if at[0] >= self.covered and not 0 <= bulk.count - left_out[at] <= perhaps[at]:
                self._blame("miscounted", f"{bulk} stands for {left_out[at]}, perhaps {perhaps[at]} more")

    def _around(self, commit):
        """The last event before the commit and the first behind it, to look at."""
        ids = [(i, e) for i, e in enumerate(self.history) if not isinstance(e, Gone)]
        before = [f"#{i} {type(e).__name__} {e.id}" for i, e in ids if e.id.lsn < commit][-1:]
        behind = [f"#{i} {type(e).__name__} {e.id}" for i, e in ids if e.id.lsn >= commit][:1]
        return f"between {before} and {behind} of {len(self.history)}"


class Verdict(NamedTuple):
    violations: list
    delivered: int  # notices, summed over the clients
    refetched: int


def check(clients, truth):
    """`clients`: (name, groups, history)."""
    violations, delivered, refetched = [], 0, 0
    ids = {}
    for name, groups, history in clients:
        done = ClientCheck(name, groups, history, truth)
        violations += done.violations
        delivered += len(done.delivered)
        refetched += done.refetched
        for notice, id in done.delivered.items():
            if notice in done.unsure:
                continue
            other, first = ids.setdefault(notice, (name, id))
            if id != first:
                violations.append(
                    Violation("renumbered", name, f"{notice} came as {id}, and to {other} as {first}")
                )
    return Verdict(violations, delivered, refetched)
