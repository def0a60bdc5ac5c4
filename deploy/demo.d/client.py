"""A client of the switchboard: asks, and hears its own inbox. The other files here share it; it knows no rules.

It does the three things that every careful client does: it keeps an inbox prefix of its own, it repeats a command under
the same command id when no answer came (the switchboard carries it out once), and it drops events that it has seen
(they are published at least once).
"""
import asyncio
import json
import os
import uuid

import nats
from nats.errors import NoRespondersError, TimeoutError as NatsTimeout

REPEAT_FOR_SECONDS = 20
SEEN_MAX = 10_000


class Refused(Exception):
    """The switchboard said no: `code` says why, `error` has the facts."""

    def __init__(self, subject, error):
        super().__init__(f"{subject}: {error['code']}: {error['message']}")
        self.code = error["code"]
        self.error = error


class Client:
    """One connection of one user: a channel, an integration, an operator or an observer."""

    def __init__(self, role, name, nc):
        self.role, self.name, self.nc = role, name, nc

    @classmethod
    async def connect(cls, role, name):
        password = os.environ[name.upper().replace("-", "_") + "_PASSWORD"]
        nc = await nats.connect(
            os.environ["NATS_URL"], user=name, password=password, name=name,
            inbox_prefix=f"_INBOX.{name}", max_reconnect_attempts=-1,
        )
        return cls(role, name, nc)

    async def command(self, verb, conversation, body=None, command_id=None):
        """One command or `state` of this caller on one conversation; the answer, or `Refused`."""
        return await self.ask(f"{self.role}.{self.name}.{verb}.{conversation}", body, command_id)

    async def ask(self, subject, body=None, command_id=None):
        """Asks until there is an answer. The command id stays the same, so nothing is carried out twice."""
        subject = f"switchboard.{subject}"
        headers = {"Nats-Msg-Id": command_id or uuid.uuid4().hex}
        until = asyncio.get_running_loop().time() + REPEAT_FOR_SECONDS
        while True:
            try:
                msg = await self.nc.request(subject, json.dumps(body or {}).encode(), timeout=5, headers=headers)
                answer = json.loads(msg.data)
                code = answer.get("error", {}).get("code")
                if code is None:
                    return answer
                if code != "busy":
                    raise Refused(subject, answer["error"])
            except (NoRespondersError, NatsTimeout):
                code = "no answer"
            if asyncio.get_running_loop().time() > until:
                raise RuntimeError(f"{subject}: {code} for {REPEAT_FOR_SECONDS} s: is the switchboard running?")
            await asyncio.sleep(0.2)

    async def inbox(self):
        """Events and messages that concern this client: listens when this returns; then `async for` gives each once."""
        return await self.listen(f"switchboard.inbox.{self.role}.{self.name}.>")

    async def listen(self, subject):
        return each_once(await self.nc.subscribe(subject))

    async def serve(self, handlers):
        """Hands each event to the handler of its kind, for good."""
        async for event in await self.inbox():
            handler = handlers.get(kind(event))
            if handler:
                try:
                    await handler(self, event)
                except Refused as refused:
                    # The conversation moved on in the meantime; its events say where to.
                    print(refused, flush=True)

    async def reply(self, event, text):
        """Says something to the end user; to be called by whoever holds control."""
        return await self.command("reply", event["subject"], {"content": {"text": text}}, f"{event['id']}/reply")


async def each_once(subscription):
    seen = {}
    async for msg in subscription.messages:
        event = json.loads(msg.data)
        if event["id"] not in seen:
            seen[event["id"]] = True
            if len(seen) > SEEN_MAX:
                del seen[next(iter(seen))]
            yield event


def kind(event):
    """`control.passed` for `switchboard.control.passed`."""
    return event["type"].split(".", 1)[1]
