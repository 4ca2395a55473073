from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class BackOfficeConfig(AppConfig):
    name = "backoffice"
    verbose_name = "Back office"
    default = True


class SiteConfig(admin_apps.AdminConfig):
    """Django's admin, with our site in place of its own. Whatever registers with `admin.site` is in it."""

    default = False
    default_site = "backoffice.site.BackOffice"
