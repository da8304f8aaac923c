from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db.models.signals import post_save
from django.dispatch import receiver

from live.models import Request, RequestSerializer


@receiver(post_save, sender=Request)
def request_saved(sender, instance, created, **_):
    data = RequestSerializer(instance).data
    message = {
        "type": "request.created" if created else "request.updated",
        "action": "created" if created else "updated",
        "request_id": instance.id,
        "status": instance.status,
        "updated_at": data["updated_at"],
        "updated_by": None,
        "data": data,
    }
    event = {"type": "request.changed", "message": message}
    async_to_sync(get_channel_layer().group_send)(f"requests_unit_{instance.unit_id}", event)
