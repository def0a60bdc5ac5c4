"""A whole bot: it answers what it can and passes the rest on. Copy it and put your own logic where `said` is looked at."""
# README: begin
import asyncio, json, os, nats

async def main():
    nc = await nats.connect(os.environ["NATS_URL"], user="faq-bot", password=os.environ["FAQ_BOT_PASSWORD"], inbox_prefix="_INBOX.faq-bot")
    async for msg in (await nc.subscribe("switchboard.inbox.integration.faq-bot.*.message.received")).messages:
        conversation, said = msg.subject.split(".")[4], json.loads(msg.data)["data"]["content"]["text"]
        answer = {"content": {"text": "We are open from nine to five. For a person, say 'human'."}}
        verb, body = ("pass", {"to": "next", "reason": "asked for a human"}) if "human" in said else ("reply", answer)
        await nc.request(f"switchboard.integration.faq-bot.{verb}.{conversation}", json.dumps(body).encode())

asyncio.run(main())
# README: end
