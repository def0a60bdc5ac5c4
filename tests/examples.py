"""Runs deploy/examples as their readers would: real server, real permissions, real clients, one story through all of them.

    tests/examples.py SERVER BINARY BOT [MODULES]     BOT is the bot in Rust, MODULES a folder with node_modules in it

Without MODULES the web channel and the desk, which are in JavaScript, are left out.
"""
import asyncio
import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from live import PATIENCE_SECONDS, ROOT, Live, Unexpected, eventually, stop

EXAMPLES = ROOT / "deploy" / "examples"
# What a program was given, and did not acknowledge before it was killed, comes again after so long.
REDELIVERED_SECONDS = 30
sys.path.insert(0, str(ROOT / "deploy" / "demo.d"))
from client import Client  # noqa: E402 (found by the line above)
from snapshot import history  # noqa: E402


async def main(server, binary, bot, modules=None):
    check_versions()
    check_sizes()
    for story, jetstream in ((lambda live: stories(live, bot, modules), False), (whoever_is_away, True)):
        with tempfile.TemporaryDirectory() as directory, Live(server, binary, directory, jetstream=jetstream) as live:
            try:
                await story(live)
            except Unexpected as unexpected:
                sys.exit(f"{unexpected}\n{live.last_words()}")


async def stories(live, bot, modules):
    live.start_server()
    service = live.start_service()
    live.start("rust-bot", [bot])
    audit = Audit(live)
    audit.start()
    await said(live, "rust-bot", "ready")
    os.environ.update(live.env)
    observer, whatsapp = await Client.connect("observer", "observer"), await Client.connect("channel", "whatsapp")
    await hand_over(whatsapp)
    audit.stop()
    if modules:
        web = await start_web(live, modules)
        first = await web.talk_to_bot_and_agent()
        stop(service)
        service = live.start_service()
        audit.start()
        await web.end_and_start_another(first, observer)
    else:
        print("the web channel and the desk are left out: they need Node and its libraries (deploy/setup tests)")
        audit.start()
    await audit.has_everything(observer)
    # A kill may cut the last line short.
    audit.stop()
    audit.file.write_bytes(audit.file.read_bytes()[:-20])
    await whatsapp.command("message", "w2", {"user": "u-2", "content": {"text": "hello"}})
    audit.start()
    await audit.has_everything(observer)
    for client in (observer, whatsapp):
        await client.nc.close()
    print(f"the bot in Rust, the auditing service{', the web channel and the desk' if modules else ''} did their parts")


async def hand_over(whatsapp):
    """The bot answers, and passes on whoever asks for a person."""
    heard, inbox = [], await whatsapp.inbox()

    async def listen():
        async for event in inbox:
            heard.append(event)

    listening = asyncio.create_task(listen())
    await whatsapp.command("start", "w1", {"user": "u-1", "owner": "faq-bot"})
    await whatsapp.command("message", "w1", {"content": {"text": "when are you open?"}})
    await eventually("the bot's answer", lambda: any("nine to five" in str(event["data"].get("content")) for event in heard))
    await whatsapp.command("message", "w1", {"content": {"text": "a human, please"}})
    await eventually("the pass to the agents", lambda: any(event["data"].get("to") == "agents" for event in heard))
    listening.cancel()


# --- the auditing service --------------------------------------------------------------------------------------------

class Audit:
    def __init__(self, live):
        self.live, self.file = live, live.directory / "audit.ndjson"

    def start(self):
        self.process = self.live.start("audit", [sys.executable, str(EXAMPLES / "audit.py"), str(self.file)])

    def stop(self):
        self.process.kill()
        self.process.wait()

    def rows(self):
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            return []

    async def has_everything(self, observer):
        """As many lines as the log has events, the same, in the same order."""
        async def compare():
            wanted, start = [], 1
            while start:
                page = await observer.ask("query.log", {"from_seq": start})
                wanted, start = wanted + page["events"], page["next_seq"]
            return self.rows() == wanted
        await eventually("every event of the log in the audit's file, once, in order", compare, REDELIVERED_SECONDS + PATIENCE_SECONDS)


# --- with JetStream: whoever was away reads on -----------------------------------------------------------------------

async def whoever_is_away(live):
    if not has_faststream():
        print("the auditing service on FastStream and the bot that was away are left out: they need Python 3.10 or later")
        return
    live.start_server()
    service = live.start_service()
    os.environ.update(live.env)
    observer, whatsapp = await Client.connect("observer", "observer"), await Client.connect("channel", "whatsapp")
    heard = await whatsapp.inbox()
    audit = AuditStream(live)
    audit.start()
    await whatsapp.command("start", "w1", {"user": "u-1", "owner": "order-bot"})
    await audit.has_everything(observer)
    # Both are away now, and miss something; the service is killed too.
    audit.stop()
    await whatsapp.command("message", "w1", {"content": {"text": "where is my lamp?"}})
    for number in range(40):
        await whatsapp.command("start", f"other-{number}", {"user": "u-2"})
    await eventually("the stream to hold what is to be read on", lambda: lag_is_none(observer, live))
    service.kill()
    service.wait()
    bot = live.start("durable_bot", [sys.executable, str(EXAMPLES / "durable_bot.py"), "order-bot"])
    live.start_service()
    audit.start()
    async for event in heard:
        if "where is my lamp" in str(event["data"].get("content")) and event["type"].endswith("message.sent"):
            break
    await audit.has_everything(observer)
    # Killed in the middle, again and again, while events come.
    for number in range(5):
        await asyncio.gather(*(whatsapp.command("start", f"more-{number}-{at}", {"user": "u-3"}) for at in range(20)))
        audit.stop()
        audit.start()
    await audit.has_everything(observer)
    stop(bot)
    for client in (observer, whatsapp):
        await client.nc.close()
    print("the auditing service on FastStream and the bot that was away read on where they were")


async def lag_is_none(observer, _live):
    """Whether the stream ends with the last event of the log."""
    info = await observer.nc.jetstream(domain="switchboard").consumer_info("SWITCHBOARD_EVENTS", "observer")
    head = (await observer.ask("query.log", {"limit": 1}))["head_seq"]
    return info.delivered.stream_seq + info.num_pending >= head


class AuditStream(Audit):
    """The same, on FastStream, into SQLite."""

    def start(self):
        self.file = self.live.directory / "audit.sqlite"
        self.process = self.live.start("audit_stream", [sys.executable, str(EXAMPLES / "audit_stream.py"), str(self.file)])

    def rows(self):
        try:
            with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
                return [json.loads(event) for (event,) in database.execute("SELECT event FROM event ORDER BY rowid")]
        except sqlite3.OperationalError:
            return []


def has_faststream():
    return importlib.util.find_spec("faststream") is not None


# --- the web channel and the desk ------------------------------------------------------------------------------------

async def start_web(live, modules):
    # Copied, as a reader would: beside their libraries.
    folder = live.directory / "copied"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("node_modules", "rust-bot"))
    (folder / "node_modules").symlink_to(Path(modules).resolve() / "node_modules")
    live.start("web_channel", ["node", "web_channel.mjs", "0"], cwd=folder)
    url = (await said(live, "web_channel", r"(http://\S+)/"))[1]
    web = Web(live, folder, url)
    await web.start_desk()
    return web


class Web:
    """The browser's and the agent's side."""

    def __init__(self, live, folder, url):
        self.live, self.folder, self.url = live, folder, url

    async def start_desk(self):
        self.desk = self.live.start("desk", ["node", "desk.mjs"], {"AGENT": "nora"}, self.folder, stdin=subprocess.PIPE)
        await said(self.live, "desk", "ready")

    def types(self, line):
        self.desk.stdin.write(f"{line}\n".encode())
        self.desk.stdin.flush()

    async def talk_to_bot_and_agent(self):
        if "New conversation" not in await self.get("/"):
            raise Unexpected("expected the chat page at /")
        conversation = str(uuid.uuid4())
        page = await self.watch(conversation)
        await self.post("say", conversation, text="hello")
        await page.shows("the bot's answer", lambda news: news.get("from") == "faq-bot")
        await page.shows("the End button", lambda news: news.get("affordances", {}).get("end_conversation"))
        await self.post("say", conversation, text="a human, please")
        await said(self.live, "desk", f"{conversation} is yours .asked for a human.")
        self.types(f"say {conversation} this is Nora")
        await page.shows("Nora's answer", lambda news: news.get("text") == "this is Nora")
        await self.is_refused("say", "not-an-id", 404)
        await self.is_refused("pass", conversation, 404)
        # Whoever opens the desk again finds what is held.
        stop(self.desk)
        (self.live.directory / "log" / "desk.log").unlink()
        await self.start_desk()
        await said(self.live, "desk", f"{conversation} held, open")
        return conversation

    async def end_and_start_another(self, conversation, observer):
        page = await self.watch(conversation)
        await page.shows("how it stands, after the restart", lambda news: news.get("owner") == "agents")
        await self.post("end", conversation)
        await said(self.live, "desk", f"{conversation} end requested: yours until")
        await page.shows("no End button any more", lambda news: news.get("affordances", {}).get("end_conversation") is False)
        self.types(f"say {conversation} goodbye")
        await page.shows("the goodbye", lambda news: news.get("text") == "goodbye")
        self.types(f"done {conversation}")
        await page.shows("the close", lambda news: news.get("status") == "closed" and news["affordances"]["start_new_conversation"])
        await self.is_refused("say", conversation, 409)
        successor = str(uuid.uuid4())
        answer = await self.post("start", successor, continued_from=conversation)
        began = (await history(observer, successor))[0]["data"]
        if answer["owner"] != "faq-bot" or began["continued_from"] != conversation:
            raise Unexpected(f"expected a successor held by the bot, got {answer} and {began}")

    async def watch(self, conversation):
        page = Page(await asyncio.to_thread(urlopen, f"{self.url}/news/{conversation}"))
        page.reading = asyncio.create_task(asyncio.to_thread(page.read))
        return page

    async def get(self, path):
        return (await asyncio.to_thread(urlopen, self.url + path)).read().decode()

    async def post(self, what, conversation, **body):
        data = json.dumps({"id": str(uuid.uuid4()), **body}).encode()
        response = await asyncio.to_thread(urlopen, Request(f"{self.url}/{what}/{conversation}", data))
        return json.loads(response.read())

    async def is_refused(self, what, conversation, status):
        try:
            await self.post(what, conversation, text="?")
        except HTTPError as error:
            if error.code == status:
                return
        raise Unexpected(f"{what} {conversation}: expected status {status}")


class Page:
    """What a browser that shows one conversation is sent."""

    def __init__(self, stream):
        self.stream, self.news = stream, []

    def read(self):
        try:
            for line in self.stream:
                if line.startswith(b"data: "):
                    self.news.append(json.loads(line[6:]))
        except (OSError, ValueError):
            pass

    async def shows(self, what, fits):
        await eventually(f"{what} on the page", lambda: any(fits(news) for news in self.news))


async def said(live, name, pattern):
    log = live.directory / "log" / f"{name}.log"
    return await eventually(f"{name} to say {pattern!r}", lambda: log.exists() and re.search(pattern, log.read_text(encoding="utf-8")))


def check_versions():
    """The bot's own package asks for the versions that it is built with here."""
    asked = (EXAMPLES / "rust-bot" / "Cargo.toml").read_text(encoding="utf-8")
    used = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    form = re.compile(r'^([\w-]+) = (?:\{ version = )?"([\d.]+)"', re.MULTILINE)
    wrong = set(form.findall(asked.split("[dependencies]")[1])) - set(form.findall(used))
    if wrong:
        sys.exit(f"deploy/examples/rust-bot/Cargo.toml: expected the versions of Cargo.toml, got {sorted(wrong)}")


def check_sizes():
    """They are made to be copied whole."""
    files = [*EXAMPLES.glob("*.*"), *EXAMPLES.glob("rust-bot/src/*.rs"), ROOT / "deploy" / "demo.d" / "flow_bot.py"]
    long = [file.name for file in files if file.suffix in (".py", ".mjs", ".html", ".rs") and len(file.read_text(encoding="utf-8").splitlines()) >= 100]
    if long:
        sys.exit(f"deploy/examples: expected files under 100 lines, got longer {sorted(long)}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
