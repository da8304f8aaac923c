"""A message never comes before its row can be read: the browser's refetch sees it, always."""

import os
import random
import threading

from harness.app import ASHA
from harness.walpush import ROW_MARK

COUNT = int(os.environ.get("REFETCH_COUNT", "2000"))
WRITERS = 4


def write(app, keys, counts, failures):
    """Autocommit updates, and transactions of several, each row's purpose counting upwards."""
    try:
        connection = app.connect(autocommit=False)
        with connection.cursor() as cursor:
            while counts["left"] > 0:
                for key in random.sample(keys, random.choice((1, 1, 1, 3))):
                    counts["left"] -= 1
                    cursor.execute(
                        "UPDATE requests SET purpose = %s || (split_part(purpose, ' ', 2)::int + 1)::text WHERE id = %s",
                        (f"{ROW_MARK} ", key),
                    )
                connection.commit()
        connection.close()
    except Exception as error:  # pylint: disable=broad-except
        failures.append(error)  # a thread's exception would otherwise be printed and forgotten


def number(purpose):
    return int(purpose.split(" ")[1])


def test_a_refetch_on_a_message_reads_the_new_row(app, walpush):
    keys = [app.insert_request(1, purpose=f"{ROW_MARK} 0") for _ in range(5 * WRITERS)]
    failures = []
    # Shared by the writers without a lock: a few rows more or less do not matter, every one of them is counted below.
    counts = {"left": COUNT}
    reader = app.connect()
    app.settle(walpush)
    with walpush.subscribe("/ws/requests/1/", ASHA) as client, reader.cursor() as cursor:
        writers = [
            threading.Thread(target=write, args=(app, keys[i::WRITERS], counts, failures)) for i in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        seen = dict.fromkeys(keys, 0)
        messages = stale = 0
        while messages < COUNT:
            message = client.recv()
            assert message["type"] == "request.updated", message.raw
            pushed = number(message["data"]["purpose"])
            cursor.execute("SELECT purpose FROM requests WHERE id = %s", (message["request_id"],))
            stale += number(cursor.fetchone()[0]) < pushed
            messages += 1
            assert pushed == seen[message["request_id"]] + 1, "a change is missing, or came twice"
            seen[message["request_id"]] = pushed
        for writer in writers:
            writer.join()
    reader.close()
    assert not failures
    assert stale == 0, f"{stale} of {messages} messages came before their row"
