from django.urls import include, path, re_path

from docstore.frontend import index

urlpatterns = [
    path("api/", include("store.urls")),
    # Pages are the frontend's own business, as are the addresses of its routes.
    re_path(r"^(?!api/).*$", index),
]
