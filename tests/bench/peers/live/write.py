"""python -m live.write ID COUNT RATE: saves one request so many times, RATE a second (0: as fast as Django can).

Says "ready", and begins when it is told a line.
With LIVE_SIGNALS=1 each save also sends to the group, as in an application that pushes with Channels.
"""

import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "live.settings")
django.setup()

from live.models import Request  # noqa: E402


def main(ident, count, rate):
    request = Request.objects.get(id=ident)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    for i in range(count):
        if rate:
            time.sleep(max(0, start + i / rate - time.monotonic()))
        request.purpose = f"withdrawn for the audit, change {i}"
        request.save()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
