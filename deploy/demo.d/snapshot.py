"""Everything that the switchboard says about every conversation, as sorted JSON: state and history. To compare two moments."""
import asyncio
import json
import sys

from client import Client


async def main(path):
    observer = await Client.connect("observer", "observer")
    conversations = await pages(observer)
    histories = {state["id"]: await history(observer, state["id"]) for state in conversations}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"conversations": conversations, "histories": histories}, file, indent=1, sort_keys=True)
    await observer.nc.close()
    print(len(conversations))


async def pages(observer):
    found, after = [], None
    while True:
        page = await observer.ask("query.conversations", {"after": after} if after else {})
        found += page["conversations"]
        after = page["next"]
        if after is None:
            return sorted(found, key=lambda state: state["id"])


async def history(observer, conversation):
    found, start = [], None
    while True:
        page = await observer.ask(f"query.history.{conversation}", {"from_seq": start} if start else {})
        found += page["events"]
        start = page["next_seq"]
        if start is None:
            return found


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
