from django.urls import include, path

from bench import rivals

urlpatterns = [
    path("bench/textbook", rivals.Textbook.as_view()),
    path("bench/nothing", rivals.Nothing.as_view()),
    path("", include("ticketbook.urls")),
]
