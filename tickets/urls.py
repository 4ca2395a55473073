from django.urls import path

from ticketbook import ids  # noqa: F401  (for <id:…>)
from tickets import api, views
from tickets.cancellation import Cancellation

# The page of a booking shows its tickets, and whoever cancels one names them. So what is at these addresses
# belongs to this app, and bookings only links to it by the names bookings:detail and bookings:cancellation.
booking_urlpatterns = [
    path("<id:booking_id>/", views.booking_page, name="detail"),
    path("<id:booking_id>/cancellation/", Cancellation.as_view(), name="cancellation"),
    path("<id:booking_id>/tickets.pdf", views.tickets_pdf, name="tickets_pdf"),
    path("<id:booking_id>/calendar.ics", views.calendar, name="calendar"),
    path("<id:booking_id>/tickets/again/", views.Again.as_view(), name="tickets_again"),
    path("<id:booking_id>/tickets/<int:number>/", views.Holder.as_view(), name="holder"),
]

urlpatterns = [
    path("tickets/<str:token>/", views.ticket_page, name="ticket"),
    path("lost-mail/", views.LostMail.as_view(), name="lost_mail"),
]

api_urlpatterns = [
    path("bookings/<id:booking_id>/cancellation", api.Cancellation.as_view()),
    path("bookings/<id:booking_id>/tickets", api.Tickets.as_view()),
    path("bookings/<id:booking_id>/tickets.pdf", api.TicketsPdf.as_view()),
    path("bookings/<id:booking_id>/calendar.ics", api.Calendar.as_view()),
    path("tickets/<id:ticket_id>", api.TicketDetail.as_view()),
]
