"""The timeline of owners, as it happens: one line an event, for whoever watches. An observer's client."""
import asyncio
import sys

from client import Client, kind

COLOUR = sys.stdout.isatty()


async def main():
    observer = await Client.connect("observer", "observer")
    async for event in await observer.listen("switchboard.event.>"):
        if event["subject"] != "_config":
            print(line(event), flush=True)


def line(event):
    data = event["data"]
    owner = data["conversation"]["owner"] or "nobody"
    status = data["conversation"]["status"]
    clock = event["time"][11:19]
    return f"{clock} {event['subject']:<15} {paint(f'{owner:<14}', owner)} {status:<7} {words(kind(event), data)}"


def words(what, data):
    """The event in plain words."""
    cause, reason = data.get("cause"), data.get("reason")
    said = {
        "conversation.started": lambda: f"session {data['session']} starts",
        "conversation.reopened": lambda: "reopened",
        "control.assigned": lambda: f"assigned to {data['to']} ({cause})",
        "control.passed": lambda: f"{data['from'] or 'nobody'} passes to {data['to']} ({cause})",
        "control.offered": lambda: f"{data['from']} offers to {data['to']}",
        "control.offer_withdrawn": lambda: f"offer to {data['to']} withdrawn ({cause})",
        "control.accepted": lambda: f"{data['to']} accepts from {data['from']}",
        "control.released": lambda: f"{data['from']} released ({cause})",
        "conversation.end_requested": lambda: f"end requested ({cause})",
        "conversation.closed": lambda: f"closed ({cause}) after {data['duration_ms'] / 1000:.1f} s",
    }.get(what, lambda: what)()
    return f"{said}: {reason}" if reason else said


def paint(text, owner):
    if not COLOUR:
        return text
    if owner == "nobody":
        return f"\033[2m{text}\033[0m"
    return f"\033[1;{31 + sum(owner.encode()) % 6}m{text}\033[0m"


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
