from django.apps import AppConfig
from django.core import checks


class TicketBookConfig(AppConfig):
    name = "ticketbook"

    def ready(self) -> None:
        from ticketbook.checks import ticket_keys_are_set

        checks.register(ticket_keys_are_set, checks.Tags.security, deploy=True)
