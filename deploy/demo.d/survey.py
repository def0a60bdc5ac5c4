"""A survey: one question, and control is released with the answer. In a session that is ending, that closes it."""
import asyncio

from client import Client


async def main():
    survey = await Client.connect("integration", "survey")
    await survey.serve({"control.passed": on_passed, "message.received": on_message})


async def on_passed(survey, event):
    # Whoever passes on is told too, so it may be the pass to another.
    if event["data"]["to"] == "survey":
        await survey.reply(event, "How did we do, from 1 to 5?")


async def on_message(survey, event):
    score = event["data"]["content"]["text"]
    await survey.reply(event, "Thank you!")
    answer = {"reason": "answered", "metadata": {"csat": int(score) if score.isdigit() else None}}
    await survey.command("release", event["subject"], answer, f"{event['id']}/release")


if __name__ == "__main__":
    asyncio.run(main())
