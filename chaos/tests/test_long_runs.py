"""What many rounds need: mails that come late or twice, enough requests, and a report."""

import json
from dataclasses import asdict, replace

import pytest
from django.core.mail import EmailMessage

from chaos import clients, quiet, report
from chaos.facts import Facts, Mail
from chaos.history import Recorder
from chaos.letters import Copies, arrived
from chaos.stage import Stage
from chaos.tests.imagined import played


def waiting(number, **more):
    return Facts(mails=[Mail(f"m{n}", "", "WAITING", f"<{n}>") for n in range(number)], **more)


@pytest.fixture
def until_quiet(monkeypatch):
    """Wait for facts that are told one after the other; a look takes no time, and a sleep neither."""

    def wait(*told, limit=0):
        left, now = list(told), [0.0]

        async def look(*where):
            return left.pop(0) if len(left) > 1 else left[0]

        async def sleep(seconds):
            now[0] += seconds

        monkeypatch.setattr(quiet, "known_now", look)
        monkeypatch.setattr(quiet.asyncio, "sleep", sleep)
        monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
        # Without a loop of its own: that would ask the clock too.
        waiting = quiet.until_quiet(None, [], 0, limit=limit)
        with pytest.raises(StopIteration) as end:
            waiting.send(None)
        return end.value.value, now[0]

    return wait


def test_mails_may_take_longer_as_long_as_they_become_fewer(until_quiet, capsys):
    known, _ = until_quiet(*map(waiting, range(50, -1, -1)), limit=5)
    assert known.mails == []
    assert (
        "45 mails waited when there was time no more, and 0 do 90 s later"
        in capsys.readouterr().out
    )


def test_mails_that_are_stuck_are_not_waited_for(until_quiet):
    known, seconds = until_quiet(waiting(3), waiting(2))
    assert len(known.mails) == 2
    assert seconds <= 2 * quiet.STUCK


def test_nothing_but_mails_may_take_longer(until_quiet):
    job = {"open_jobs": ["refund_booking"]}
    known, seconds = until_quiet(waiting(2, **job), waiting(1, **job), waiting(1, **job), limit=10)
    assert known.open_jobs
    assert seconds <= 11


def test_each_copy_of_a_mail_is_kept(tmp_path, settings):
    settings.EMAIL_FILE_PATH = tmp_path / "mail"
    message = EmailMessage("Hello", "You", "a@example.com", ["b@example.com"])
    message.extra_headers["Message-ID"] = "<one@example.com>"
    Copies().send_messages([message])
    Copies().send_messages([message])
    assert [name for name, _ in arrived(tmp_path / "mail")] == ["<one@example.com>"] * 2


def test_clients_go_on_until_there_were_enough_requests_but_not_for_ever(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path / "history.jsonl", seed=1, schedule=[])
    crowd = clients.Crowd(Stage(), recorder, "", 1, seconds=10, requests=2)
    told = []
    for second in (9, 11, 10 * clients.MOST - 1, 10 * clients.MOST):
        monkeypatch.setattr(recorder, "now", lambda second=second: second)
        told.append(crowd.is_over())
    assert told == [False, False, False, True]
    recorder.requests = 2
    monkeypatch.setattr(recorder, "now", lambda: 10)
    assert crowd.is_over()


def test_the_report_has_a_line_for_each_round_and_names_what_was_found(tmp_path):
    for seed in (7, 8):
        history, known = played(seed).told()
        known.audit = ["One is missing.", "One is missing."] if seed == 8 else []
        schedule = ["0 with_page", "1 gateway lost 3", "2 kill_web 0", "3 kill_web 1"]
        folder = tmp_path / f"job-{seed % 2}" / "runs" / str(seed)
        folder.mkdir(parents=True)
        header = replace(history.header, seed=seed, schedule=schedule)
        lines = [asdict(header), *map(asdict, history.attempts)]
        (folder / "history.jsonl").write_text("\n".join(map(json.dumps, lines)))
        known.write(folder / "facts.json")
        verdict = {"problems": [], "quiet_after": 12}
        (folder / "verdict.json").write_text(json.dumps(verdict))
    played_rounds = report.rounds(tmp_path)
    said = report.text(played_rounds)
    assert "Rounds in which something was found: 8." in said
    assert "Looked at: oversold " in said
    assert "| 7 | payment page; gateway lost, kill_web ×2 | " in said
    assert "| 12 s | **audit** 2 |" in said
    assert said.startswith(f"2 rounds: {sum(each.requests for each in played_rounds):,} requests")
