"""Agent programs that exchange messages: agents by message type, and responses of one form.

from graceline.dialects.messages import Dispatcher

agents = Dispatcher()

@agents.agent("search")
async def search(request):
    return {"hits": await look_up(request.message["topic"])}

with agents:
    response = agents.process({"type": "search", "topic": "trio"}, timeout=30.0)
"""

from graceline.dialects.messages.dispatcher import Dispatcher
from graceline.dialects.messages.responses import PartialProgress, Response, StepReport
from graceline.dialects.messages.workflows import Agent, Request

__all__ = ["Agent", "Dispatcher", "PartialProgress", "Request", "Response", "StepReport"]
