"""WhatsApp: one endless thread with a guided flow, which ends the session; the next message starts from the beginning."""
import asyncio

from channel import play


async def flow_ends(eve):
    await eve.says("hi")
    await eve.hears("Welcome!")
    await eve.says("5")
    await eve.hears("Thanks for your feedback")
    await eve.sees("conversation.closed", cause="integration")
    await eve.finds(status="closed", owner=None, session=1)


async def flow_starts_again(eve):
    await eve.says("me again")
    await eve.sees("conversation.started", session=2)
    await eve.hears("Welcome!")
    await eve.finds(status="open", owner="feedback-flow", session=2)


asyncio.run(play("whatsapp", {
    "flow-ends": ("eve:+491511234", flow_ends),
    "flow-starts-again": ("eve:+491511234", flow_starts_again),
}))
