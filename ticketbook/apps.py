from django.apps import AppConfig


class TicketBookConfig(AppConfig):
    name = "ticketbook"
