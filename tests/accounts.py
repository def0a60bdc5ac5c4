"""Holds deploy/nats-jetstream.conf against what it promises, on a real server with the service: everybody reads on in its
own inbox, and nobody makes the server speak for another. accounts.py SERVER BINARY
"""
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import nats
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import ServiceUnavailableError

from live import ROOT, Live, Unexpected, eventually, reached

sys.path.insert(0, str(ROOT / "deploy" / "demo.d"))
from client import Client  # noqa: E402 (found by the line above)

COMMANDS = ["switchboard.channel.>", "switchboard.integration.>", "switchboard.operator.>", "switchboard.config.>", "switchboard.query.>"]
FORGED = "switchboard.operator.alice.end.held"
MINE = "integration-faq-bot"
OTHERS = "integration-agents"
# The same attacks must get through where there is one account for all, or they prove nothing.
ONE_ACCOUNT = """
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{store}", max_file_store: 10GB }}
authorization {{ users: [
  {{ user: switchboard, password: p }}
  {{ user: faq-bot, password: p, permissions: {{
    publish: {{ allow: ["switchboard.integration.faq-bot.>", "$JS.API.CONSUMER.MSG.NEXT.SWITCHBOARD_INBOX.integration-faq-bot",
      "$JS.ACK.SWITCHBOARD_INBOX.integration-faq-bot.>"] }}
    subscribe: {{ allow: ["switchboard.inbox.integration.faq-bot.>", "_INBOX.faq-bot.>"] }} }} }}
] }}
"""


async def main(server, binary):
    with tempfile.TemporaryDirectory() as directory, Live(server, binary, directory, jetstream=True) as live:
        try:
            await in_accounts(live)
        except Unexpected as unexpected:
            sys.exit(f"{unexpected}\n{live.last_words()}")
    with tempfile.TemporaryDirectory() as directory, Live(server, binary, directory, users=False) as live:
        await in_one_account(live)
    print("in accounts everybody reads its own inbox and nobody speaks for another; in one account it could")


async def in_accounts(live):
    live.start_server()
    live.start_service()
    os.environ.update(live.env)
    web, observer = await Client.connect("channel", "web"), await Client.connect("observer", "observer")
    switchboard, bot = await Client.connect("switchboard", "switchboard"), await Client.connect("integration", "faq-bot")
    # Whoever is away is away from here on.
    await web.command("start", "held", {"user": "u-1"})
    for number in range(5):
        await web.command("message", "held", {"content": {"text": str(number)}})
    # Before the attacks, whose late answers lie in faq-bot's own account and would be heard there.
    await overhear(bot.nc)
    heard = await hear_commands(switchboard.nc)
    await attack(bot.nc, "$JS.switchboard.API")
    await attack(bot.nc, "$JS.API")
    await asyncio.sleep(1)
    forged = [subject for subject in heard if not subject.startswith("switchboard.integration.faq-bot.")]
    if forged:
        raise Unexpected(f"expected that faq-bot speaks for itself only, and the switchboard's account heard {forged}")
    if not heard:
        raise Unexpected("expected that the switchboard's account heard the commands of faq-bot itself")
    if (await observer.ask("query.conversation.held"))["conversation"]["status"] != "open":
        raise Unexpected("a forged command was carried out")
    await bot.nc.close()
    bot = await Client.connect("integration", "faq-bot")
    await is_refused_elsewhere(bot.nc)
    await reads_on(bot, web)
    await reads_on_every_event(observer)
    run_well(live, "observer", ["list"], "faq-bot")
    run_well(live, "observer", ["show", "held"], "faq-bot")
    run_well(live, "alice", ["operator", "end", "held", "--as", "alice"], "")
    if (await web.command("state", "held"))["conversation"]["status"] != "closed":
        raise Unexpected("expected that alice ends the conversation")
    for client in (web, observer, switchboard, bot):
        await client.nc.close()
    log = (live.directory / "log" / "switchboard.log").read_text()
    if "ermission" in log or "not all consumers" in log:
        raise Unexpected("the service lacks a permission")


async def hear_commands(nc):
    heard = []

    async def note(msg):
        heard.append(msg.subject)

    for subject in COMMANDS:
        await nc.subscribe(subject, cb=note)
    await reached(nc)
    return heard


async def attack(nc, api):
    """Everything by which the server could be made to publish on FORGED. Each fetch ends soon, or it would take what comes later."""
    fetch, ack = f"{api}.CONSUMER.MSG.NEXT.SWITCHBOARD_INBOX.{MINE}", f"$JS.ACK.SWITCHBOARD_INBOX.{MINE}"
    for body in ({"batch": 1, "no_wait": True}, {"batch": 2, "expires": 100_000_000}, {"batch": 99, "expires": 300_000_000, "idle_heartbeat": 100_000_000},
                 {"batch": 1, "expires": 1}, {"batch": 1, "max_bytes": 1, "no_wait": True}, "not what it reads"):
        await nc.publish(fetch, json.dumps(body).encode(), reply=FORGED)
    for body in (b"", b"+ACK", b"-NAK", b"+WPI", b"+TERM", b'+NXT {"batch": 1, "no_wait": true}'):
        for number in range(1, 4):
            await nc.publish(f"{ack}.1.{number}.{number}.1.1", body, reply=FORGED)
    for deliver in ({"deliver_subject": FORGED, "headers_only": True}, {"deliver_subject": FORGED, "idle_heartbeat": 100_000_000}):
        config = {"name": "forger", "filter_subject": "switchboard.inbox.integration.faq-bot.>", "ack_policy": "none", **deliver}
        body = json.dumps({"stream_name": "SWITCHBOARD_INBOX", "config": config}).encode()
        for subject in (f"{api}.CONSUMER.CREATE.SWITCHBOARD_INBOX.forger.switchboard.inbox.integration.faq-bot.>",
                        f"{api}.CONSUMER.CREATE.SWITCHBOARD_INBOX", f"{api}.CONSUMER.DURABLE.CREATE.SWITCHBOARD_INBOX.forger"):
            await nc.publish(subject, body, reply="_INBOX.faq-bot.none")
    mirror = {"name": "FORGER", "subjects": ["x"], "republish": {"src": "x", "dest": FORGED}}
    await nc.publish(f"{api}.STREAM.CREATE.FORGER", json.dumps(mirror).encode(), reply="_INBOX.faq-bot.none")
    await nc.publish("x", b"")
    own = "switchboard.integration.faq-bot.state.held"
    for headers in (None, {"Nats-Trace-Dest": FORGED}, {"Nats-Trace-Dest": FORGED, "Nats-Trace-Only": "1"}):
        await nc.publish(own, b"", reply=FORGED, headers=headers)
    for subject in (FORGED, "switchboard.integration.agents.take.held", "switchboard.config.alice.put", "switchboard.query.log", "_R_.forged"):
        await nc.publish(subject, b"", reply="_INBOX.faq-bot.none")
    await reached(nc)


async def overhear(nc):
    """Nothing of others is heard, whatever is listened to."""
    heard = []

    async def note(msg):
        heard.append(msg.subject)

    listening = [await nc.subscribe(subject, cb=note) for subject in (">", "switchboard.inbox.>", "_INBOX.>", "$JS.>")]
    await reached(nc)
    passed = Client("integration", "faq-bot", nc)
    await passed.command("offer", "held", {"to": "agents"})
    await passed.command("withdraw", "held")
    await asyncio.sleep(0.3)
    for subscription in listening:
        await subscription.unsubscribe()
    own = ("switchboard.inbox.integration.faq-bot.", "switchboard.standby.faq-bot.", "switchboard.integration.faq-bot.", "_INBOX.faq-bot.")
    others = [subject for subject in heard if not subject.startswith(own)]
    if others or not heard:
        raise Unexpected(f"expected that faq-bot hears its own inbox only, got {others or 'nothing'}")


async def is_refused_elsewhere(nc):
    """Other inboxes, events and the streams themselves are not there for it."""
    for api in ("$JS.switchboard.API", "$JS.API"):
        for subject, body in ((f"CONSUMER.MSG.NEXT.SWITCHBOARD_INBOX.{OTHERS}", {"batch": 1}), (f"CONSUMER.INFO.SWITCHBOARD_INBOX.{OTHERS}", {}),
                              ("CONSUMER.MSG.NEXT.SWITCHBOARD_EVENTS.observer", {"batch": 1}), ("STREAM.MSG.GET.SWITCHBOARD_INBOX", {"seq": 1}),
                              ("DIRECT.GET.SWITCHBOARD_INBOX", {"seq": 1}), ("STREAM.INFO.SWITCHBOARD_INBOX", {}),
                              (f"CONSUMER.DELETE.SWITCHBOARD_INBOX.{OTHERS}", {}), ("STREAM.PURGE.SWITCHBOARD_INBOX", {})):
            # A subscription of its own: a message out of a stream comes under its own subject, and a request would not see it.
            inbox = f"_INBOX.faq-bot.{uuid.uuid4().hex}"
            answers = await nc.subscribe(inbox)
            await nc.publish(f"{api}.{subject}", json.dumps(body).encode(), reply=inbox)
            try:
                answer = await answers.next_msg(timeout=0.5)
            except NatsTimeout:
                continue
            is_nobody = (answer.headers or {}).get("Status") == "503"
            if not is_nobody and json.loads(answer.data).get("error", {}).get("err_code") != 10039:  # JetStream not enabled for account
                raise Unexpected(f"expected that faq-bot may not ask {api}.{subject}, got {answer.data!r}")


async def reads_on(bot, web):
    """What comes while faq-bot is away waits for it. (By the attacks it has lost what came before, of its own inbox only.)"""
    inbox = await bot.nc.jetstream(domain="switchboard").pull_subscribe_bind(MINE, "SWITCHBOARD_INBOX")
    await web.command("message", "held", {"content": {"text": "the last"}})
    found = []

    async def fetched():
        try:
            for msg in await inbox.fetch(10, timeout=1):
                found.append(json.loads(msg.data)["data"].get("content", {}).get("text"))
                await msg.ack_sync(timeout=5)
        except (NatsTimeout, ServiceUnavailableError):
            pass
        return "the last" in found

    await eventually("the last message in the inbox of faq-bot", fetched)
    info = await bot.nc.jetstream(domain="switchboard").consumer_info("SWITCHBOARD_INBOX", MINE)
    if info.config.filter_subject != "switchboard.inbox.integration.faq-bot.>":
        raise Unexpected(f"expected a consumer of its own inbox, got {info.config}")


async def reads_on_every_event(observer):
    stream = await observer.nc.jetstream(domain="switchboard").pull_subscribe_bind("observer", "SWITCHBOARD_EVENTS")
    seqs = [json.loads(msg.data)["data"]["seq"] for msg in await stream.fetch(5, timeout=5)]
    if seqs != [1, 2, 3, 4, 5]:
        raise Unexpected(f"expected the first events, got {seqs}")


def run_well(live, user, arguments, expected):
    env = {**live.env, "SWITCHBOARD_NATS": live.url, "SWITCHBOARD_USER": user,
           "SWITCHBOARD_PASSWORD": live.env[f"{user.upper()}_PASSWORD"]}
    done = subprocess.run([live.binary, *arguments], env=env, capture_output=True, text=True, timeout=60)
    if done.returncode or expected not in done.stdout:
        raise Unexpected(f"{user}: {' '.join(arguments)}: {done.stdout}{done.stderr}")


async def in_one_account(live):
    conf = live.directory / "one.conf"
    conf.write_text(ONE_ACCOUNT.format(store=live.directory / "streams"), encoding="utf-8")
    ports = live.directory / "ports"
    ports.mkdir()
    process = live.start("nats", [live.server, "-c", str(conf), "--ports_file_dir", str(ports)])
    told = live.wait("the NATS server", process, lambda: next((file for file in ports.glob("*.ports") if file.read_text()), None))
    url = json.loads(Path(told).read_text())["nats"][0]
    switchboard = await nats.connect(url, user="switchboard", password="p")
    bot = await nats.connect(url, user="faq-bot", password="p", inbox_prefix="_INBOX.faq-bot", error_cb=nothing)
    js = switchboard.jetstream()
    await js.add_stream(name="SWITCHBOARD_INBOX", subjects=["switchboard.inbox.>"])
    await js.add_consumer("SWITCHBOARD_INBOX", durable_name=MINE, ack_policy="explicit")
    for _ in range(5):
        await js.publish("switchboard.inbox.integration.faq-bot.c.message.received", uuid.uuid4().hex.encode())
    heard = await hear_commands(switchboard)
    await attack(bot, "$JS.API")
    await eventually("the attacks to get through in one account", lambda: FORGED in heard)
    for nc in (switchboard, bot):
        await nc.close()


async def nothing(_error):
    pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
