"""The stories as they must have gone: each conversation's whole timeline, as the log tells it, against the one expected."""
import asyncio
import sys

from client import Client, kind
from snapshot import history

SURVEYED = ["control.released survey (integration)", "conversation.closed (end_user)"]

EXPECTED = {
    "ben": [
        "conversation.started",
        "control.assigned > faq-bot (default)",
        "conversation.end_requested (end_user)",
        "control.released faq-bot (end_requested)",
        "conversation.closed (end_user)",
    ],
    "ann": [
        "conversation.started",
        "control.assigned > faq-bot (default)",
        "control.passed faq-bot > agents (next)",
        "conversation.end_requested (end_user)",
        "control.passed agents > survey (next)",
        *SURVEYED,
    ],
    "cleo": [
        "conversation.started",
        "control.assigned > order-bot (start)",
        "conversation.end_requested (end_user)",
        "control.passed order-bot > survey (on_end)",
        *SURVEYED,
    ],
    "dan": [
        "conversation.started",
        "control.assigned > order-bot (start)",
        "control.offered order-bot > agents",
        "control.accepted order-bot > agents",
        "control.offered agents > experts",
        "conversation.end_requested (end_user)",
        "control.offer_withdrawn > experts (end_requested)",
        "control.passed agents > survey (next)",
        *SURVEYED,
    ],
    "eve:+491511234": [
        "conversation.started",
        "control.assigned > feedback-flow (default)",
        "conversation.end_requested (integration)",
        "control.released feedback-flow (integration)",
        "conversation.closed (integration)",
        "conversation.started",
        "control.assigned > feedback-flow (default)",
    ],
    "fred": [
        "conversation.started",
        "control.assigned > faq-bot (default)",
        "conversation.end_requested (inactivity)",
        "control.released faq-bot (inactivity)",
        "conversation.closed (inactivity)",
    ],
}


async def main():
    observer = await Client.connect("observer", "observer")
    faults = []
    for conversation, expected in EXPECTED.items():
        got = [line(event) for event in await history(observer, conversation)]
        if got != expected:
            faults.append(f"{conversation}: expected\n    " + "\n    ".join(expected) + "\n  got\n    " + "\n    ".join(got))
    await observer.nc.close()
    if faults:
        sys.exit("\n".join(faults))


def line(event):
    data = event["data"]
    parts = [kind(event), data.get("from"), f"> {data['to']}" if data.get("to") else None]
    if data.get("cause"):
        parts.append(f"({data['cause']})")
    return " ".join(part for part in parts if part)


if __name__ == "__main__":
    asyncio.run(main())
