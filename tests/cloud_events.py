"""What a running switchboard sends, read by CloudEvents' own library and held against the AsyncAPI document.

    tests/cloud_events.py SERVER BINARY RECORD     RECORD gets every message of the wire, for tests/cloud_events.mjs

A story in which every kind of event occurs: each parses in structured mode, has the attributes that it should, and goes
only where the document says, with the headers that it says.
"""
import asyncio
import json
import re
import sys
import tempfile
from datetime import timezone
from pathlib import Path

import nats
import yaml

from live import ROOT, Live, Unexpected, eventually, reached

try:
    from cloudevents.core.bindings.http import HTTPMessage, from_http_event
except ImportError:
    from_http_event = None

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DESK = {"name": "agents", "on_end": "hold", "can_take": True}
CHANGED = {"config": {
    "settings": {"default_integration": "faq-bot", "release_deadline": "5m"},
    "integration": [{"name": "faq-bot", "next": "agents"}, DESK, {"name": "watcher", "standby": True}],
    "channel": [{"name": "web", "reopen": True}, {"name": "whatsapp", "legacy_csat": True}],
}}
# Who, what, on which conversation, with what body, refused with which code.
STORY = [
    ("channel.web", "message", "c1", {"user": "u-1", "message_id": "m-1", "content": {"text": "Grüße — 你好"}}),
    ("integration.faq-bot", "reply", "c1", {"message_id": "m-2", "content": "hello"}),
    ("integration.survey", "release", "c1", {}, "not_in_control"),
    ("integration.faq-bot", "offer", "c1", {"to": "agents", "metadata": {"topic": "ä"}}),
    ("integration.agents", "decline", "c1", {"reason": "not now"}),
    ("integration.faq-bot", "offer", "c1", {"to": "agents", "expires_in": "1h"}),
    ("integration.agents", "accept", "c1", {"actor": "Maria Lind"}),
    ("channel.web", "end", "c1", {}),
    ("integration.agents", "pass", "c1", {"to": "next"}),
    ("integration.survey", "release", "c1", {"metadata": {"score": 5}}),
    ("config.alice", "put", None, CHANGED),
    ("channel.web", "message", "c1", {"content": "once more"}),
    ("integration.faq-bot", "reply", "c1", {"content": "yes?"}),
    ("operator.alice", "release", "c1", {"reason": "enough"}),
]


async def main(server, binary, record):
    document = yaml.safe_load((ROOT / "schemas" / "asyncapi.yaml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as directory, Live(server, binary, directory, users=False) as live:
        live.start_server()
        nc = await nats.connect(live.url)
        heard = await listen(nc)
        live.start_service()
        await play(nc)
        await eventually("the last release in the channel's inbox", lambda: any(
            message["subject"] == "switchboard.inbox.channel.web.c1.control.released" and '"operator"' in message["body"]
            for message in heard))
        await nc.close()
    faults = [f"{message['subject']}: {fault}" for message in heard for fault in faults_of(message, document)]
    seen = {kind_of(message["subject"]) for message in heard}
    kinds = {kind for name in ("event", "inbox.integration", "inbox.channel") for kind in document["channels"][name]["messages"]}
    faults += [f"{kind}: expected in the story, and it did not occur" for kind in sorted(kinds - seen)]
    faults += [f"{name}: expected something there, and nothing came" for name in sorted(published(document))
               if not any(pattern(document, name).fullmatch(message["subject"]) for message in heard)]
    if faults:
        sys.exit("\n".join(faults))
    Path(record).write_text(json.dumps(heard), encoding="utf-8")
    print(f"{len(heard)} messages on the wire, of {len(seen)} kinds, are CloudEvents where they should be, with the attributes promised"
          if from_http_event else "CloudEvents' own library is left out: it needs Python 3.10")


async def listen(nc):
    heard = []

    async def on_message(msg):
        heard.append({"subject": msg.subject, "headers": dict(msg.headers or {}), "body": msg.data.decode()})

    for subject in ("event", "inbox", "standby", "rejection"):
        await nc.subscribe(f"switchboard.{subject}.>", cb=on_message)
    await reached(nc)
    return heard


async def play(nc):
    for number, (who, verb, conversation, body, *refusal) in enumerate(STORY):
        subject = ".".join(part for part in ("switchboard", who, verb, conversation) if part)
        headers = {"Nats-Msg-Id": f"step-{number}", "traceparent": TRACE}
        answer = await nc.request(subject, json.dumps(body).encode(), timeout=10, headers=headers)
        error = json.loads(answer.data).get("error", {})
        if [error[word] for word in ("code",) if error] != refusal:
            raise Unexpected(f"{subject}: expected {refusal or 'no refusal'}, got {error or answer.data}")
        if refusal and sorted(answer.headers) != ["Nats-Service-Error", "Nats-Service-Error-Code"]:
            raise Unexpected(f"{subject}: expected the headers of an error, got {answer.headers}")


def faults_of(message, document):
    places = [name for name in published(document) if pattern(document, name).fullmatch(message["subject"])]
    kind = kind_of(message["subject"])
    if len(places) != 1:
        yield f"expected one channel of the document to have this subject, got {places}"
        return
    described = document["channels"][places[0]]["messages"]
    if places[0] == "rejection":
        if message["headers"]:
            yield f"expected no headers, got {message['headers']}"
        return
    if kind not in described:
        yield f"expected one of {', '.join(described)}"
        return
    # Those beyond stand only with JetStream, which this service does without.
    required = document["components"]["messages"][kind]["headers"]["required"]
    if sorted(message["headers"]) != sorted(required):
        yield f"expected the headers {sorted(required)}, got {sorted(message['headers'])}"
    yield from faults_of_event(message, kind, places[0])


def faults_of_event(message, kind, place):
    data, copy = json.loads(message["body"])["data"], "" if place == "event" else copy_of(message["subject"])
    conversation = message["subject"].split(".")[-3]
    if from_http_event is None:
        return
    event = from_http_event(HTTPMessage({"content-type": message["headers"]["Content-Type"]}, message["body"].encode()))
    log = event.get_source().removeprefix("/switchboard/")
    form = rf"{re.escape(log)}-{data['seq']}-[0-9a-f]{{8}}" if "seq" in data else rf"{re.escape(log)}-m-[0-9A-Za-z-]+"
    traced = TRACE if conversation != "_config" or (data["command_id"] or "").startswith("step") else None
    expected = {
        "specversion": "1.0", "type": f"switchboard.{kind}", "subject": conversation, "datacontenttype": "application/json",
        "dataschema": f"urn:switchboard:schema:1:{kind}", "source": f"/switchboard/{log}", "traceparent": traced,
    }
    got = {**event.get_attributes(), **{"traceparent": event.get_extension("traceparent")}}
    yield from (f"expected {name} {value!r}, got {got.get(name)!r}" for name, value in expected.items() if got.get(name) != value)
    if not re.fullmatch(form, event.get_id()):
        yield f"expected an id of the form {form}, got {event.get_id()}"
    if message["headers"]["Nats-Msg-Id"] != event.get_id() + copy:
        yield f"expected Nats-Msg-Id {event.get_id() + copy}, got {message['headers']['Nats-Msg-Id']}"
    if event.get_time() is None or event.get_time().utcoffset() != timezone.utc.utcoffset(None):
        yield f"expected a time in UTC, got {event.get_time()}"
    if event.get_data() != data:
        yield "expected the library to hand over the data as it is"


def copy_of(subject):
    words = subject.split(".")
    return f"/standby.{words[2]}" if words[1] == "standby" else f"/{words[2]}.{words[3]}"


def published(document):
    return {name for name, operation in document["operations"].items() if operation["action"] == "send"}


def pattern(document, name):
    """The channel's subjects, each parameter within its values."""
    channel = document["channels"][name]
    return re.compile(re.sub(r"\\{(\w+)\\}", lambda found: "(" + "|".join(
        channel["parameters"][found[1]].get("enum", [r"[^.]+"])) + ")", re.escape(channel["address"])))


def kind_of(subject):
    return ".".join(subject.split(".")[-2:])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
