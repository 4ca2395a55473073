import pytest

from chaos import faults
from chaos.faults import Planned, parse, planned, printed, shortest


def test_a_schedule_is_read_as_it_is_printed():
    text = "0 no_worker; 12.5 kill_web 0; 14 gateway late 2.5"
    schedule = parse(text)
    assert schedule[2] == Planned(14, "gateway", ("late", "2.5"))
    assert printed(schedule) == text
    for seed in range(50):
        assert parse(printed(planned(seed, 40))) == planned(seed, 40)


def test_a_schedule_is_in_order_of_time():
    assert printed(parse("3 cut_all; 1 kill_worker;")) == "1 kill_worker; 3 cut_all"
    assert parse("") == []


@pytest.mark.parametrize("text", ["kill_web 0", "3", "3 kill_everybody", "soon kill_web"])
def test_a_schedule_that_is_wrong_is_explained(text):
    with pytest.raises(ValueError, match=r"\.$"):
        parse(text)


def test_the_same_seed_makes_the_same_schedule():
    assert planned(7, 40) == planned(7, 40)
    assert len({printed(planned(seed, 40)) for seed in range(100)}) == 100


def test_every_fault_is_in_some_schedule():
    made = {each.name for seed in range(300) for each in planned(seed, 40)}
    assert made == faults.ACTS.keys() | faults.CONDITIONS
    assert faults.MADE.keys() == faults.ACTS.keys()


def test_faults_happen_while_clients_are_there():
    for seed in range(50):
        for each in planned(seed, 40):
            assert each.name in faults.CONDITIONS or 2 < each.at < 35


def test_a_failing_schedule_is_shortened_to_what_fails():
    schedule = parse("1 cut_all; 2 kill_worker; 3 kill_master; 4 stall 1; 5 kill_gateway")
    guilty = set(schedule[1:4:2])
    tried = []

    def fails(shorter):
        tried.append(shorter)
        return guilty <= set(shorter)

    assert printed(shortest(schedule, fails)) == "2 kill_worker; 4 stall 1"
    assert len(tried) == 5


def test_shortening_ends_after_a_number_of_runs():
    schedule = parse("1 cut_all; 2 cut_all; 3 cut_all; 4 cut_all")
    assert len(shortest(schedule, lambda shorter: True, most=2)) == 2
