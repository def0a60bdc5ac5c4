"""An auditing service: every event of every conversation in a file, each once, in order, without a gap.

    NATS_URL=… OBSERVER_PASSWORD=… python audit.py FILE

A published event only says that there is something new; the log itself is then asked from where the file ends. So it
makes no difference whether this program, NATS or the switchboard was away in the meantime.
"""
import asyncio
import json
import os
import sys

import nats
from nats.errors import NoRespondersError, TimeoutError as NatsTimeout

LOOK_AGAIN_SECONDS = 30


async def main(path):
    news = asyncio.Event()

    async def on_news(*_):
        news.set()

    nc = await nats.connect(
        os.environ["NATS_URL"], user="observer", password=os.environ["OBSERVER_PASSWORD"], name="audit",
        inbox_prefix="_INBOX.observer", max_reconnect_attempts=-1, reconnected_cb=on_news,
    )
    await nc.subscribe("switchboard.event.>", cb=on_news)
    next_seq = mended(path)
    with open(path, "ab") as file:
        while True:
            news.clear()
            next_seq = await copy(nc, file, next_seq)
            try:
                await asyncio.wait_for(news.wait(), LOOK_AGAIN_SECONDS)
            except asyncio.TimeoutError:
                pass


def mended(path):
    """Where to go on. A line that a kill cut short is dropped: the log still has it."""
    next_seq, whole = 1, 0
    if os.path.exists(path):
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    next_seq, whole = json.loads(line)["data"]["seq"] + 1, whole + len(line)
        os.truncate(path, whole)
    return next_seq


async def copy(nc, file, next_seq):
    """Appends what the log has from `next_seq` on; answers where to go on."""
    while True:
        try:
            answer = await nc.request("switchboard.query.log", json.dumps({"from_seq": next_seq, "limit": 1000}).encode(), timeout=10)
        except (NoRespondersError, NatsTimeout):
            await asyncio.sleep(1)
            continue
        page = json.loads(answer.data)
        if "error" in page:
            # Whatever it is comes again, and is said: also that the events were removed before they were copied.
            print(page["error"]["message"], file=sys.stderr, flush=True)
            return next_seq
        for event in page["events"]:
            file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            next_seq = event["data"]["seq"] + 1
        file.flush()
        os.fsync(file.fileno())
        if page["next_seq"] is None:
            return next_seq
        next_seq = page["next_seq"]


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
