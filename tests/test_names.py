"""Names agree on both sides of an account boundary, and fit AWS's limits."""

from fedsilo import names


def test_names_are_those_that_the_other_side_expects() -> None:
    assert names.mail_bucket("heart", "111111111111", "us-east-1") == "heart-mail-111111111111-us-east-1"
    assert (
        names.data_bucket("heart", "cleveland", "111111111111", "us-east-1") == "heart-cleveland-111111111111-us-east-1"
    )
    assert names.data_queue("heart", "cleveland") == "heart-cleveland-data.fifo"
    assert names.control_queue("heart", "cleveland") == "heart-cleveland-control.fifo"
    assert names.dead_letter_queue("heart", "cleveland") == "heart-cleveland-dead.fifo"
    assert (names.trainer_role("heart", "cleveland"), names.agent_role("heart", "cleveland")) == (
        "heart-cleveland-trainer",
        "heart-cleveland-agent",
    )
    assert [names.experiment("heart", rank) for rank in (0, 1, 4)] == [
        "heart-server",
        "heart-client-1",
        "heart-client-4",
    ]


LONGEST = "n" * 20
ACCOUNT, REGION = "1" * 12, "ap-southeast-7"


def test_the_longest_names_are_within_aws_limits() -> None:
    assert len(names.mail_bucket(LONGEST, ACCOUNT, REGION)) <= 63
    for queue in (names.data_queue, names.control_queue, names.dead_letter_queue):
        assert len(queue(LONGEST, LONGEST)) <= 80
    for role in (names.trainer_role, names.agent_role):
        assert len(role(LONGEST, LONGEST)) <= 64
