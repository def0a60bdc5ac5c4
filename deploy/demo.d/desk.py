"""The agents' desk, with one agent, Nora: she accepts what is offered, asks the experts, and wraps up an ended session.

Its `on_end` is "hold": when the end user ends, the desk is told and keeps control until Nora has written her last line;
then it passes on to the survey.
"""
import asyncio

from client import Client

NORA = {"actor": "nora"}


async def main():
    desk = await Client.connect("integration", "agents")
    await desk.serve({
        "control.offered": on_offered,
        "control.accepted": on_mine,
        "control.passed": on_mine,
        "control.assigned": on_mine,
        "message.received": on_message,
        "conversation.end_requested": on_end_requested,
    })


async def on_offered(desk, event):
    if event["data"]["to"] == "agents":
        await desk.command("accept", event["subject"], NORA, f"{event['id']}/accept")


async def on_mine(desk, event):
    if event["data"]["to"] == "agents":
        await desk.reply(event, "Hello, this is Nora. How can I help?")


async def on_message(desk, event):
    if "refund" in event["data"]["content"]["text"]:
        offer = {"to": "experts", "reason": "a refund", "expires_in": "10m", **NORA}
        await desk.command("offer", event["subject"], offer, f"{event['id']}/offer")
        await desk.reply(event, "I am asking a colleague who may grant refunds.")
    else:
        await desk.reply(event, "Done. Anything else?")


async def on_end_requested(desk, event):
    if event["data"]["conversation"]["owner"] == "agents":
        await desk.reply(event, "Thank you for your visit, Nora.")
        await desk.command("pass", event["subject"], {"to": "next", **NORA}, f"{event['id']}/pass")


if __name__ == "__main__":
    asyncio.run(main())
