"""A cluster that stays up when a part of it dies: its configuration, and what starts and breaks it here."""
