"""Be an end user yourself: talk.py CONVERSATION, then type. An empty line ends the conversation, Ctrl-D leaves it open."""
import asyncio
import sys

from client import Client, Refused, kind


async def main(conversation):
    channel = await Client.connect("channel", "web")
    listening = asyncio.create_task(show(await channel.inbox(), conversation))
    print("type, and see who answers; an empty line ends the conversation", flush=True)
    while True:
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        try:
            if line.strip():
                await channel.command("message", conversation, {"content": {"text": line.strip()}})
            else:
                await channel.command("end", conversation)
        except Refused as refused:
            print(f"  ({refused.code}: {refused.error['message']})", flush=True)
    listening.cancel()
    await channel.nc.close()


async def show(inbox, conversation):
    async for event in inbox:
        if event["subject"] != conversation:
            continue
        data = event["data"]
        if kind(event) == "message.sent":
            print(f"  {data['by']['name']}: {data['content']['text']}", flush=True)
        elif kind(event).startswith(("control.", "conversation.")):
            print(f"  ({kind(event)}: {data['conversation']['owner'] or 'nobody'} holds control)", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected the name of a conversation: talk.py gina")
    asyncio.run(main(sys.argv[1]))
