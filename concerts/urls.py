from django.urls import path

from concerts import api, views
from ticketbook import ids  # noqa: F401  (for <id:…>)

app_name = "concerts"

urlpatterns = [
    path("", views.concert_list, name="home"),
    path("concerts/", views.concert_list, name="list"),
]

api_urlpatterns = [
    path("concerts", api.Concerts.as_view()),
    path("concerts/<id:concert_id>", api.ConcertDetail.as_view()),
    path("concerts/<id:concert_id>/availability", api.Availability.as_view()),
]
