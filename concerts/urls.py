from django.urls import path

from concerts import api, views

app_name = "concerts"

urlpatterns = [
    path("", views.concert_list, name="home"),
    path("concerts/", views.concert_list, name="list"),
]

api_urlpatterns = [
    path("concerts", api.Concerts.as_view()),
    path("concerts/<uuid:concert_id>", api.ConcertDetail.as_view()),
    path("concerts/<uuid:concert_id>/availability", api.Availability.as_view()),
]
