"""What no answer may be."""

import json
import re
from collections.abc import Iterator

from fuzz.doors import Door
from fuzz.knocking import SECONDS, Answer, Request
from fuzz.values import MARK

SCRIPT = b"<script>alert(1)</script>"
JSON_TYPES = ("application/json", "application/vnd.oai.openapi+json")


def faults(door: Door, request: Request, answer: Answer) -> Iterator[str]:
    if not answer.status:
        late = answer.seconds >= SECONDS
        yield "no answer in time" if late else "the connection was closed without an answer"
        return
    if answer.status >= 500 and answer.status != 501:
        yield f"{answer.status}"
    if b"Traceback (most recent call last)" in answer.body:
        yield "a stack trace in the answer"
    if any("fuzz=1" in value for name, value in answer.headers if name == "set-cookie"):
        yield "a header that the client has made up"
    if re.match(r"(https?:)?[/\\]{2}evil\.example", answer["location"]):
        yield "a redirect to a foreign site"
    if answer["content-type"].startswith("text/html") and (
        MARK.encode() in answer.body or SCRIPT in answer.body
    ):
        yield "text of the client that is not escaped"
    path = request.target.partition(b"?")[0]
    if path.startswith(b"/api/"):
        yield from _faults_of_the_api(request, answer)


def _faults_of_the_api(request: Request, answer: Answer) -> Iterator[str]:
    kind = answer["content-type"]
    if answer.status >= 400:
        if kind != "application/problem+json":
            yield f"{answer.status} is {kind or 'nothing'} and no problem"
        elif request.method != "HEAD" and not _is_problem(answer):
            yield f"{answer.status} is no valid problem"
    elif answer.status in {204, 304} or request.method == "HEAD":
        if answer.body:
            yield f"{answer.status} has a body"
    elif answer.status >= 300:
        yield f"{answer.status} under /api/"
    elif not kind.startswith(JSON_TYPES) and not request.target.startswith(b"/api/v1/docs"):
        yield f"{answer.status} is {kind or 'nothing'} and no JSON"


def _is_problem(answer: Answer) -> bool:
    try:
        problem = json.loads(answer.body)
    except ValueError:
        return False
    wanted = {"type", "title", "status", "detail", "code"}
    return (
        isinstance(problem, dict)
        and wanted <= problem.keys()
        and problem["status"] == answer.status
    )
