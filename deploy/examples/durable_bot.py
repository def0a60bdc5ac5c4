"""A bot that may be away: it finds in its inbox what was said in the meantime, and answers it.

    NATS_URL=… ORDER_BOT_PASSWORD=… python durable_bot.py order-bot

For a switchboard that serves with `--events jetstream` on a server with deploy/nats-jetstream.conf. A message is acknowledged
when it is dealt with; one that a crash left comes again after 30 s, under the same id, and so does the answer to it.
"""
import asyncio
import json
import os
import sys

import nats
from nats.errors import Error as NatsError, TimeoutError as NatsTimeout


async def main(name):
    nc = await nats.connect(
        os.environ["NATS_URL"], user=name, password=os.environ[name.upper().replace("-", "_") + "_PASSWORD"], name=name,
        inbox_prefix=f"_INBOX.{name}", max_reconnect_attempts=-1,
    )
    # The consumer is made by the switchboard; `domain` is how this account sees the streams.
    js = nc.jetstream(domain="switchboard")
    inbox = await js.pull_subscribe_bind(f"integration-{name}", "SWITCHBOARD_INBOX")
    while True:
        for msg in await fetch(inbox):
            if await is_done(nc, name, json.loads(msg.data)):
                await msg.ack()


async def fetch(inbox):
    try:
        return await inbox.fetch(10, timeout=5)
    except NatsTimeout:
        return []
    except NatsError:
        # The server, the stream or the consumer is not there yet.
        await asyncio.sleep(1)
        return []


async def is_done(nc, name, event):
    """Answers what an end user said; false where it must come again."""
    if event["type"] != "switchboard.message.received":
        return True
    content = event["data"]["content"]
    said = content.get("text") if isinstance(content, dict) else content
    text = f"About your order: you said {json.dumps(said)}."
    body = json.dumps({"content": {"text": text}}).encode()
    headers = {"Nats-Msg-Id": f"{event['id']}/reply"}
    try:
        msg = await nc.request(f"switchboard.integration.{name}.reply.{event['subject']}", body, timeout=5, headers=headers)
    except NatsError:
        return False
    # Whoever was away may not be in control any more: then there is nothing to answer.
    error = json.loads(msg.data).get("error", {})
    if error:
        print(error["message"], flush=True)
    return error.get("code") not in ("busy", "log_failed", "storage_full")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
