"""An auditing service on FastStream: every event in SQLite, each once, in order, read on from a stream.

    NATS_URL=… OBSERVER_PASSWORD=… python audit_stream.py FILE

For a switchboard that serves with `--events jetstream` on a server with deploy/nats-jetstream.conf: the durable consumer
`observer` remembers where this program was, however long it was away. An event is acknowledged when it is on disk. After a
crash some come again, and perhaps behind newer ones: a repeat is dropped, and what is missing before an event (also what the
stream keeps no longer) is asked from the log.
"""
import asyncio
import json
import os
import sqlite3
import sys

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.security import SASLPlaintext
from nats.errors import Error as NatsError

STREAM, DURABLE = "SWITCHBOARD_EVENTS", "observer"

broker = NatsBroker(
    os.environ["NATS_URL"], security=SASLPlaintext("observer", os.environ["OBSERVER_PASSWORD"]), name="audit",
    inbox_prefix="_INBOX.observer", max_reconnect_attempts=-1, js_options={"domain": "switchboard"},
)
database = sqlite3.connect(sys.argv[1])


@broker.subscriber(
    "switchboard.event.>", stream=JStream(STREAM, declare=False), durable=DURABLE,
    pull_sub=PullSub(batch_size=500, timeout=1, batch=True), ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def on_events(events: list[dict]):
    for event in sorted(events, key=lambda event: event["data"]["seq"]):
        if event["data"]["seq"] > last_seq() + 1:
            await fill(event["data"]["seq"] - 1)
        write([event])
    database.commit()


async def fill(to_seq):
    """Writes what the log has up to there."""
    while (from_seq := last_seq() + 1) <= to_seq:
        body = {"from_seq": from_seq, "to_seq": to_seq, "limit": 1000}
        answer = await broker.request(body, "switchboard.query.log", timeout=10)
        page = json.loads(answer.body)
        if not page.get("events"):
            raise RuntimeError(f"expected events {from_seq} to {to_seq} of the log, got {page}")
        write(page["events"])


def last_seq():
    return database.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]


def write(events):
    rows = [(event["data"]["seq"], event["id"], json.dumps(event)) for event in events]
    for row in rows:
        database.execute("INSERT INTO event VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
        if database.execute("SELECT id FROM event WHERE seq = ?", row[:1]).fetchone() != (row[1],):
            raise SystemExit(f"another event has seq {row[0]}: is this the file of another log, or of one that was cut?")


async def main():
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, event TEXT)")
    nc = await broker.connect()
    # The switchboard makes the consumer, and may not have been started yet.
    while True:
        try:
            await nc.jetstream(domain="switchboard").consumer_info(STREAM, DURABLE)
            break
        except NatsError:
            await asyncio.sleep(1)
    await FastStream(broker).run()


if __name__ == "__main__":
    asyncio.run(main())
