"""A short chaos run with a fixed seed; `make chaos` makes long ones."""

import os

import chaos

SEED = 20251114
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))


def test_every_change_reaches_everybody_once(capsys):
    def say(text):
        with capsys.disabled():
            print(text, flush=True)

    say(f"\nchaos for {SECONDS:.0f} s, seed {SEED}")
    it = chaos.run(SECONDS, SEED, say)
    assert not it.violations, "see above"
    # It proves little if next to nothing was delivered, or nobody ever resumed.
    assert it.faults.counts and it.resumes
    assert it.verdict.delivered > it.verdict.refetched / 2
