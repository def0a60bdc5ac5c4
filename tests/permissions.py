"""Holds deploy/nats.conf against what it promises, on a real server: who may publish and hear what. permissions.py SERVER"""
import asyncio
import glob
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import nats

from live import reached

CONF = Path(__file__).resolve().parent.parent / "deploy" / "nats.conf"

# user, what it does, subject, whether it may
RULES = [
    ("web", "publish", "switchboard.channel.web.start.c", True),
    ("web", "publish", "switchboard.channel.whatsapp.start.c", False),
    ("web", "publish", "switchboard.integration.faq-bot.pass.c", False),
    ("web", "publish", "switchboard.query.conversations", False),
    ("web", "hear", "switchboard.inbox.channel.web.>", True),
    ("web", "hear", "switchboard.inbox.channel.whatsapp.>", False),
    ("web", "hear", "switchboard.event.>", False),
    ("faq-bot", "publish", "switchboard.integration.faq-bot.pass.c", True),
    ("faq-bot", "publish", "switchboard.integration.faq-bot.list", True),
    ("faq-bot", "publish", "switchboard.integration.agents.take.c", False),
    ("faq-bot", "publish", "switchboard.operator.alice.end.c", False),
    ("faq-bot", "hear", "switchboard.inbox.integration.faq-bot.>", True),
    ("faq-bot", "hear", "switchboard.standby.faq-bot.>", True),
    ("faq-bot", "hear", "switchboard.inbox.integration.agents.>", False),
    ("alice", "publish", "switchboard.operator.alice.end.c", True),
    ("alice", "publish", "switchboard.operator.alice.export", True),
    ("alice", "publish", "switchboard.operator.bob.export", False),
    ("alice", "publish", "switchboard.config.alice.put", True),
    ("alice", "publish", "switchboard.config.bob.put", False),
    ("alice", "publish", "switchboard.integration.agents.take.c", False),
    ("observer", "publish", "switchboard.query.log", True),
    ("observer", "publish", "$SRV.PING", True),
    ("observer", "publish", "switchboard.operator.alice.end.c", False),
    ("observer", "publish", "switchboard.operator.alice.export", False),
    ("observer", "publish", "switchboard.operator.observer.export", False),
    ("observer", "hear", "switchboard.event.>", True),
    ("observer", "hear", "switchboard.inbox.>", False),
    ("switchboard", "publish", "switchboard.event.c.control.passed", True),
    ("switchboard", "publish", "_INBOX.web.reply", True),
    ("switchboard", "publish", "switchboard.channel.web.start.c", False),
    ("switchboard", "publish", "switchboard.operator.alice.end.c", False),
    ("switchboard", "hear", "switchboard.channel.>", True),
    ("switchboard", "hear", "$SRV.>", True),
    ("switchboard", "publish", "$JS.API.STREAM.NAMES", True),
    ("switchboard", "publish", "$JS.API.STREAM.CREATE.SWITCHBOARD_EVENTS", False),
]
# Nobody may do these; nobody but the switchboard may do the second ones.
NOBODY = [("hear", ">"), ("hear", "_INBOX.>"), ("hear", "switchboard.>"), ("publish", "$JS.API.STREAM.DELETE.SWITCHBOARD_EVENTS"), ("publish", "$JS.API.STREAM.UPDATE.SWITCHBOARD_INBOX"),
          ("publish", "$JS.API.CONSUMER.MSG.NEXT.SWITCHBOARD_INBOX.integration-faq-bot"), ("publish", "$JS.ACK.SWITCHBOARD_INBOX.integration-faq-bot.1.1.1.1.1"),
          ("publish", "$JS.API.CONSUMER.CREATE.SWITCHBOARD_INBOX.x")]
SWITCHBOARD_ONLY = [
    ("publish", "switchboard.event.c.control.passed"), ("publish", "switchboard.inbox.integration.agents.c.message.received"),
    ("publish", "_INBOX.somebody.reply"), ("hear", "switchboard.integration.>"), ("hear", "switchboard.query.>"),
]


async def main(server):
    text = CONF.read_text(encoding="utf-8")
    users = dict(re.findall(r"user: ([\w-]+), password: \$(\w+)", text))
    for name in users.values():
        os.environ[name] = "p" + secrets.token_hex(8)
    rules = list(RULES)
    for user in users:
        rules.append((user, "hear", f"_INBOX.{user}.>", True))
        rules += [(user, what, subject, False) for what, subject in NOBODY]
        if user != "switchboard":
            rules += [(user, what, subject, False) for what, subject in SWITCHBOARD_ONLY]
    with tempfile.TemporaryDirectory() as ports:
        command = [server, "-c", str(CONF), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", ports]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            url = await url_of(ports, process)
            faults = [fault for user in users for fault in await probe(url, user, users[user], rules)]
        finally:
            process.terminate()
            process.wait()
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(rules)} permissions of {len(users)} users are as they should be")


async def url_of(ports, process):
    for _ in range(100):
        found = glob.glob(f"{ports}/*.ports")
        if found and Path(found[0]).read_text():
            return json.loads(Path(found[0]).read_text())["nats"][0]
        if process.poll() is not None:
            break
        await asyncio.sleep(0.1)
    sys.exit("the NATS server did not start")


async def probe(url, user, password_name, rules):
    """Tries everything of one user, and hears from the server what it refused."""
    refused = set()

    async def on_error(error):
        found = re.search(r"permissions violation for (publish|subscription) to \"([^\"]+)\"", str(error), re.IGNORECASE)
        if found:
            refused.add(("publish" if found[1].lower() == "publish" else "hear", found[2].lower()))

    nc = await nats.connect(url, user=user, password=os.environ[password_name], inbox_prefix=f"_INBOX.{user}", error_cb=on_error)
    mine = [rule[1:] for rule in rules if rule[0] == user]
    for what, subject, _ in mine:
        await (nc.publish(subject, b"{}") if what == "publish" else nc.subscribe(subject))
    # What was refused is told before the answer to the last of it.
    await reached(nc)
    await nc.close()
    return [
        f"{user}: expected that it {'may' if may else 'may not'} {what} {subject}, and it {'may not' if may else 'may'}"
        for what, subject, may in mine if ((what, subject.lower()) in refused) == may
    ]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
