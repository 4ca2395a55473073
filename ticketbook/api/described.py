"""What every operation of the API may answer beside its own answers, for the OpenAPI description."""

from typing import Any

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457)",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for people"},
        "code": {"type": "string", "description": "For programs, as `not_found`"},
        "requestId": {
            "type": "string",
            "description": "From 500 on, as in the header X-Request-ID: name it when you report the error",
        },
        "errors": {
            "type": "array",
            "description": "With `invalid`: what is wrong with which field or parameter",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
TOO_LARGE = "`too_large`: the body is too large"
THROTTLED = "`throttled`: too many attempts, for this account or from this address"
GUESSED_AT = ("/users", "/auth/token")


def with_problems(result: dict[str, Any], **options: object) -> dict[str, Any]:
    result["components"]["schemas"]["Problem"] = PROBLEM
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            answers["default"] = _problem(
                "Any other error. `busy` (503) has the header Retry-After.", {}
            )
            if method in {"post", "patch"}:
                answers["413"] = _problem(TOO_LARGE, {})
            if method == "post" and path.endswith(GUESSED_AT):
                answers["429"] = _problem(THROTTLED, RETRY_AFTER)
    return result


def _problem(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {"application/problem+json": {"schema": schema}}
    return {"description": description, "headers": headers, "content": content}
