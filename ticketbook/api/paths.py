"""Where the API is."""

API = "/api/v1"


def is_api(path: str) -> bool:
    return path.startswith("/api/") or path == "/api"
