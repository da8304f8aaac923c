"""The built frontend's page. Its scripts and styles are WhiteNoise's business."""

from django.conf import settings
from django.http import FileResponse, HttpResponseNotFound
from django.views.decorators.http import require_safe


@require_safe
def index(_request):
    page = settings.FRONTEND_DIR / "index.html"
    if not page.is_file():
        return HttpResponseNotFound("The frontend is not built.", content_type="text/plain")
    response = FileResponse(page.open("rb"), content_type="text/html; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    return response
