"""A bot that knows about orders. It offers the conversation to people and keeps it until one of them accepts."""
import asyncio

from client import Client


async def main():
    bot = await Client.connect("integration", "order-bot")
    await bot.serve({"message.received": on_message})


async def on_message(bot, event):
    if "human" not in event["data"]["content"]["text"]:
        await bot.reply(event, "Order A-1047 left our warehouse this morning.")
        return
    # First the reply: after an accept it would no longer be this bot's turn.
    await bot.reply(event, "One moment, I am looking for a colleague.")
    offer = {"to": "agents", "reason": "asked for a human", "expires_in": "2m", "metadata": {"order": "A-1047"}}
    # The event's own id makes the command id: if this event comes twice, the command still counts once.
    await bot.command("offer", event["subject"], offer, f"{event['id']}/offer")


if __name__ == "__main__":
    asyncio.run(main())
