"""The web widget: four end users, two of whom are in the middle of something when the switchboard is killed."""
import asyncio

from channel import play


async def bot_ended(ben):
    await ben.says("when are you open?")
    await ben.hears("nine to five")
    await ben.ends()
    await ben.sees("conversation.closed", cause="end_user")
    await ben.finds(status="closed", owner=None)


async def whole_way_begins(ann):
    await ann.says("hello")
    await ann.hears("nine to five")
    await ann.says("I want a human")
    await ann.sees("control.passed", to="agents", cause="next")
    await ann.hears("Nora")
    await ann.finds(status="open", owner="agents")


async def whole_way_ends(ann):
    await ann.says("please change my address")
    await ann.hears("Anything else")
    await ann.ends()
    await ann.hears("Thank you for your visit")
    await ann.hears("from 1 to 5")
    await ann.finds(status="ending", owner="survey")
    await ann.says("5")
    await ann.sees("conversation.closed", cause="end_user")
    await ann.finds(status="closed", owner=None, metadata={"csat": 5})


async def survey_first_begins(cleo):
    await cleo.starts_with("order-bot")
    await cleo.says("where is my order?")
    await cleo.hears("this morning")
    await cleo.ends()
    await cleo.sees("control.passed", to="survey", cause="on_end")
    await cleo.hears("from 1 to 5")
    await cleo.finds(status="ending", owner="survey")


async def survey_first_ends(cleo):
    await cleo.says("4")
    await cleo.sees("conversation.closed", cause="end_user")
    await cleo.finds(status="closed", owner=None, metadata={"csat": 4})


async def offer_pending_begins(dan):
    await dan.starts_with("order-bot")
    await dan.says("a human, please")
    await dan.sees("control.accepted", to="agents")
    await dan.hears("Nora")
    await dan.says("I would like a refund")
    await dan.sees("control.offered", to="experts")
    await dan.hears("a colleague who may grant refunds")
    await dan.finds(status="open", owner="agents", offered_to="experts")


async def offer_pending_ends(dan):
    await dan.ends()
    await dan.sees("control.offer_withdrawn", to="experts", cause="end_requested")
    await dan.hears("from 1 to 5")
    await dan.says("3")
    await dan.sees("conversation.closed", cause="end_user")
    await dan.finds(status="closed", owner=None, offered_to=None)


asyncio.run(play("web", {
    "bot-ended": ("ben", bot_ended),
    "whole-way-begins": ("ann", whole_way_begins),
    "whole-way-ends": ("ann", whole_way_ends),
    "survey-first-begins": ("cleo", survey_first_begins),
    "survey-first-ends": ("cleo", survey_first_ends),
    "offer-pending-begins": ("dan", offer_pending_begins),
    "offer-pending-ends": ("dan", offer_pending_ends),
}))
