"""A tablet in the shop: the customer walks away, and the session ends by itself. Never early; a tenth later at most
where the last activity may be unknown."""
import asyncio
from datetime import datetime

from channel import Unexpected, play

TIMEOUT_SECONDS = 3
LATE_SECONDS_MAX = 3


async def walked_away(fred):
    await fred.says("hm, which lamp?")
    await fred.hears("nine to five")
    state = await fred.finds(status="open", owner="faq-bot")
    closed = await fred.sees("conversation.closed", cause="inactivity")
    waited = (moment(closed["time"]) - moment(state["last_activity_at"])).total_seconds()
    if not TIMEOUT_SECONDS <= waited <= TIMEOUT_SECONDS + LATE_SECONDS_MAX:
        raise Unexpected(f"expected the end {TIMEOUT_SECONDS} s after the last message, got {waited:.3f} s")
    await fred.finds(status="closed", owner=None)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


asyncio.run(play("kiosk", {"walked-away": ("fred", walked_away)}))
