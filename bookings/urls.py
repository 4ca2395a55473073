from django.urls import path, register_converter
from django.urls.converters import StringConverter

from bookings import api, guest_views, views
from ticketbook import ids  # noqa: F401  (for <id:…>)


class PublicIdConverter(StringConverter):
    """A user's public id: it shares its place in the address with a booking's id."""

    regex = "user_[^/]+"


register_converter(PublicIdConverter, "public_id")

app_name = "bookings"

urlpatterns = [
    path("", views.Bookings.as_view(), name="list"),
    path("<id:booking_id>/payment/", views.back_from_payment, name="payment"),
    path("<id:booking_id>/link/", guest_views.NewLink.as_view(), name="new_link"),
    path("<id:booking_id>/keep/", guest_views.AskToKeep.as_view(), name="ask_to_keep"),
    path("link/<str:link>/", guest_views.opened, name="opened"),
    path("keep/<str:link>/", guest_views.Keep.as_view(), name="keep"),
    path("forget/", guest_views.ForgetHere.as_view(), name="forget_here"),
]

api_urlpatterns = [
    path("bookings", api.Bookings.as_view()),
    path("bookings/<public_id:public_id>", api.UserBookings.as_view()),
    path("bookings/<id:booking_id>", api.BookingDetail.as_view()),
]
