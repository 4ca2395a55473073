from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

import accounts.urls
import bookings.concert_views
import bookings.guest_views
import bookings.urls
import concerts.urls
import tickets.urls
from bookings.events_api import Events
from ticketbook import health, ids  # noqa: F401  (ids: for <id:…>)
from ticketbook.api.paths import API

# Its script has an address of its own. The style sheet of Swagger UI has pictures in it.
docs = csp_update({"img-src": ["data:"]})(
    SpectacularSwaggerSplitView.as_view(url_name="openapi", http_method_names=["get", "head"])
)

# What is asked for most comes first.
api = [
    *bookings.urls.api_urlpatterns,
    *tickets.urls.api_urlpatterns,
    *concerts.urls.api_urlpatterns,
    *accounts.urls.api_urlpatterns,
    path("health-check", health.HealthCheck.as_view()),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("docs", docs),
]

urlpatterns = [
    path(f"{API[1:]}/", include(api)),
    # The page of a concert sells, so it belongs to bookings; the catalogue only links to it by this name.
    path("concerts/<id:concert_id>/", bookings.concert_views.concert_page, name="concert"),
    path("concerts/<id:concert_id>/left/", bookings.concert_views.whats_left, name="left"),
    path("", include("concerts.urls")),
    path(
        "bookings/",
        include(([*bookings.urls.urlpatterns, *tickets.urls.booking_urlpatterns], "bookings")),
    ),
    path("", include(tickets.urls.urlpatterns)),
    path("b/<str:link>/", bookings.guest_views.open_booking, name="open_booking"),
    path("payments/<str:gateway>/events", Events.as_view()),
    path("accounts/", include("accounts.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "ticketbook.error_handlers.bad_request"
handler403 = "ticketbook.error_handlers.permission_denied"
handler404 = "ticketbook.error_handlers.page_not_found"
handler500 = "ticketbook.error_handlers.server_error"
