"""Which browser somebody uses, in plain words."""

from django.http import HttpRequest

BROWSER = "browser"  # what a session calls it

# The first one counts: most browsers also name those that they descend from.
BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "a Chromebook",
    "Mac OS": "a Mac",
    "Linux": "Linux",
}


def browser_of(request: HttpRequest) -> str:
    """Such as "Firefox on Windows"; empty if the browser does not say what it is."""
    said = request.META.get("HTTP_USER_AGENT", "")
    browser, system = (
        next((name for mark, name in names.items() if mark in said), "")
        for names in (BROWSERS, SYSTEMS)
    )
    if browser and system:
        return f"{browser} on {system}"
    return browser or (f"A browser on {system}" if system else "")
