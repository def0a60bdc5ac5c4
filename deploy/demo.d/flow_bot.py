"""A guided flow as flow builders make them: it asks, says thanks and ends the session itself.

What it remembers belongs to one session: with a new `session` it starts from the beginning.
"""
import asyncio

from client import Client

asked = {}  # conversation -> the session in which the question was put


async def main():
    flow = await Client.connect("integration", "feedback-flow")
    await flow.serve({"message.received": on_message, "conversation.closed": on_closed})


async def on_message(flow, event):
    conversation, session = event["subject"], event["data"]["session"]
    if asked.get(conversation) != session:
        asked[conversation] = session
        await flow.reply(event, "Welcome! How do you like your new lamp, from 1 to 5?")
    else:
        await flow.reply(event, "Thanks for your feedback!")
        await flow.command("end", conversation, {"reason": "flow finished"}, f"{event['id']}/end")


async def on_closed(_flow, event):
    asked.pop(event["subject"], None)


if __name__ == "__main__":
    asyncio.run(main())
