"""An operator changes one channel's inactivity timeout while the switchboard runs: set_timeout.py CHANNEL DURATION.

The whole configuration is read, changed and put back, guarded by its version: two operators cannot undo each other's work.
"""
import asyncio
import sys

from client import Client


async def main(channel_name, duration):
    alice = await Client.connect("operator", "alice")
    current = await alice.ask("query.config")
    channels = current["config"].setdefault("channel", [])
    channel = next((entry for entry in channels if entry["name"] == channel_name), None)
    if channel is None:
        channel = {"name": channel_name}
        channels.append(channel)
    channel["inactivity_timeout"] = duration
    put = {"config": current["config"], "expected_version": current["version"]}
    answer = await alice.ask("config.alice.put", put)
    print(f"{'':8} alice sets the inactivity timeout of {channel_name} to {duration}: {answer['outcome']}", flush=True)
    await alice.nc.close()


asyncio.run(main(*sys.argv[1:]))
