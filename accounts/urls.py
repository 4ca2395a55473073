from django.urls import path

from accounts import api

api_urlpatterns = [
    path("users", api.Users.as_view()),
    path("auth/token", api.Token.as_view()),
]
