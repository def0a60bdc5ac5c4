"""A channel's side of a conversation: what an end user says, hears and sees. web.py, whatsapp.py and kiosk.py play with it.

A real gateway does the same, only that its end users sit behind a widget or a provider.
"""
import asyncio
import sys
from datetime import datetime, timezone

from client import Client, kind

WAIT_SECONDS = 10


class EndUser:
    """One end user in one conversation of one channel."""

    def __init__(self, channel, conversation):
        self.channel, self.conversation = channel, conversation
        self.news = asyncio.Queue()
        self.said = 0

    async def starts_with(self, owner):
        await self.channel.command("start", self.conversation, {"user": f"user-{self.conversation}", "owner": owner})

    async def says(self, text):
        self.said += 1
        chat(self.conversation, "user", f'"{text}"')
        message = {
            "message_id": f"{self.conversation}-{self.said}-{int(datetime.now().timestamp() * 1000)}",
            "user": f"user-{self.conversation}",
            "sent_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "content": {"text": text},
        }
        return await self.channel.command("message", self.conversation, message, message["message_id"])

    async def hears(self, part):
        """Waits for a message of whoever holds the conversation."""
        await self.until("message.sent", lambda data: part in data["content"]["text"], f"hear '{part}'")

    async def sees(self, wanted, **fields):
        """Waits for an event with these fields."""
        def fits(data):
            return all(data.get(name) == value for name, value in fields.items())
        return await self.until(wanted, fits, f"see {wanted} {fields or ''}".strip())

    async def until(self, wanted, fits, words):
        try:
            return await asyncio.wait_for(self.next_that(wanted, fits), WAIT_SECONDS)
        except asyncio.TimeoutError:
            raise Unexpected(f"{self.conversation}: expected to {words} within {WAIT_SECONDS} s, and did not") from None

    async def next_that(self, wanted, fits):
        while True:
            event = await self.news.get()
            if kind(event) == wanted and fits(event["data"]):
                return event

    async def ends(self):
        chat(self.conversation, "user", "ends the conversation")
        await self.channel.command("end", self.conversation, {"reason": "pressed end"})

    async def finds(self, **fields):
        """Checks the state that the switchboard answers; `offered_to` is the receiver of its offer."""
        state = (await self.channel.command("state", self.conversation))["conversation"]
        facts = {**state, "offered_to": (state["offer"] or {}).get("to")}
        for name, expected in fields.items():
            if facts[name] != expected:
                raise Unexpected(f"{self.conversation}: expected {name} {expected!r}, got {facts[name]!r}")
        return state


class Unexpected(Exception):
    """A story went another way than it should."""


async def play(channel_name, stories):
    """Plays the story named on the command line, as its only end user."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in stories:
        sys.exit(f"expected one of {', '.join(stories)}, got '{name}'")
    conversation, story = stories[name]
    channel = await Client.connect("channel", channel_name)
    user = EndUser(channel, conversation)
    listening = asyncio.create_task(listen(user, await channel.inbox()))
    try:
        await story(user)
    except Unexpected as unexpected:
        sys.exit(f"{channel_name}: {unexpected}")
    finally:
        listening.cancel()
        await channel.nc.close()


async def listen(user, inbox):
    async for event in inbox:
        if event["subject"] != user.conversation:
            continue
        if kind(event) == "message.sent":
            chat(user.conversation, event["data"]["by"]["name"], f'"{event["data"]["content"]["text"]}"')
        user.news.put_nowait(event)


def chat(conversation, speaker, text):
    """One line, under the columns of watch.py's timeline."""
    print(f"{'':8} {conversation:<15} {speaker:<14} {text}", flush=True)
