from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class BackOfficeConfig(AppConfig):
    name = "backoffice"
    verbose_name = "Back office"
    default = True


class SiteConfig(admin_apps.AdminConfig):
    """Django's admin with our site. `admin.site` is the BackOffice everywhere, also in other apps."""

    default = False
    default_site = "backoffice.site.BackOffice"
