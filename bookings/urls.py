from django.urls import path, register_converter
from django.urls.converters import StringConverter

from bookings import api, views
from ticketbook import ids  # noqa: F401  (for <id:…>)


class PublicIdConverter(StringConverter):
    """A user's public id: it shares its place in the address with a booking's id."""

    regex = "user_[^/]+"


register_converter(PublicIdConverter, "public_id")

app_name = "bookings"

urlpatterns = [
    path("", views.Bookings.as_view(), name="list"),
    path("<id:booking_id>/payment/", views.back_from_payment, name="payment"),
]

api_urlpatterns = [
    path("bookings", api.Bookings.as_view()),
    path("bookings/<public_id:public_id>", api.UserBookings.as_view()),
    path("bookings/<id:booking_id>", api.BookingDetail.as_view()),
]
