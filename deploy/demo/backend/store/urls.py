from django.urls import path, re_path
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from store.views import crates, overview, people, requests, storages

urlpatterns = [
    path("config/", overview.config),
    path("token/", TokenObtainPairView.as_view()),
    path("token/refresh/", TokenRefreshView.as_view()),
    path("me/", people.me),
    path("me/password/", people.change_password),
    path("units/", people.units),
    path("units/<int:pk>/users/", people.users_of_unit),
    path("units/<int:pk>/users/<int:user_id>/", people.Membership.as_view()),
    path("users/<int:pk>/", people.user),
    path("requests/", requests.Requests.as_view()),
    path("requests/<int:pk>/", requests.OneRequest.as_view()),
    path("requests/<int:pk>/approve/", requests.approve),
    path("requests/<int:pk>/reject/", requests.reject),
    path("requests/<int:pk>/send-back/", requests.send_back),
    path("requests/<int:pk>/allocate-storage/", requests.allocate_storage),
    path("requests/<int:pk>/issue/", requests.issue),
    path("requests/<int:pk>/return/", requests.take_back),
    re_path(r"^requests/(?P<request_type>storage|withdrawal|destruction)/(?P<pk>\d+)/update/$", requests.update),
    path("documents/crates/", crates.Crates.as_view()),
    path("documents/crates/<int:pk>/", crates.OneCrate.as_view()),
    path("documents/crates/<int:pk>/relocate/", crates.relocate),
    path("storage/", storages.Storages.as_view()),
    path("storage/<int:pk>/", storages.OneStorage.as_view()),
    path("dashboard/", overview.dashboard),
    path("audit/", overview.audit),
    path("notifications/", overview.notifications),
]
