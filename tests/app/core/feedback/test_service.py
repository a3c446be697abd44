import pytest

from app.core.errors import FeedbackRejectedError, InvalidInputError
from app.core.feedback.entries import Judgement, Label
from app.core.feedback.service import MAX_FEEDBACK, FeedbackService
from app.core.feedback.tokens import FeedbackTokens
from tests.app.core.feedback.statements import ISSUED, statement
from tests.fakes import InMemoryFeedbackLog

NOW = ISSUED + 90


@pytest.fixture
def log():
    return InMemoryFeedbackLog()


@pytest.fixture
def service(log):
    tokens = FeedbackTokens(b"k" * 32, collection="c", lifetime=100, clock=lambda: NOW)
    return FeedbackService(tokens, log)


def label(token: str, *, relevant: bool = True) -> Judgement:
    return Judgement(token, "explicit", relevant)


async def test_a_label_is_kept_with_what_was_stated(service, log):
    said = statement()

    [receipt] = await service.take([label(service.token(said))])

    assert (receipt.status, receipt.relevant, receipt.statement) == ("accepted", True, said)
    assert receipt.delay == 90
    [(number, entry)] = await log.read()
    assert (number, entry.statement, entry.relevant, entry.received) == (1, said, True, NOW)
    assert service.now() == NOW


async def test_the_latest_label_of_a_hit_counts_and_once_however_often_it_is_sent(service, log):
    token = service.token(statement())

    receipts = await service.take([label(token), label(token), label(token, relevant=False)])
    [again] = await service.take([label(token, relevant=False)])

    assert [r.status for r in receipts] == ["accepted", "duplicate", "accepted"]
    assert [r.before for r in receipts] == [None, None, Label("explicit", True)]
    assert (again.status, again.relevant) == ("duplicate", False)
    assert [e.relevant for _, e in await log.read()] == [False]


async def test_a_label_is_taken_back_by_saying_none(service, log):
    token = service.token(statement())

    [_, back, again] = await service.take(
        [label(token), Judgement(token, "explicit", None), Judgement(token, "explicit", None)]
    )

    assert (back.status, back.relevant, back.before) == ("accepted", None, Label("explicit", True))
    assert (again.status, again.before) == ("duplicate", None)
    assert await log.read() == []


async def test_a_user_does_not_overrule_an_assessor(service, log):
    token = service.token(statement())

    receipts = await service.take(
        [Judgement(token, "judged", False), label(token), Judgement(token, "explicit", None)]
    )

    assert [(r.status, r.relevant) for r in receipts[1:]] == [("duplicate", False)] * 2
    assert [(e.source, e.relevant) for _, e in await log.read()] == [("judged", False)]


async def test_a_click_is_kept_beside_a_label(service, log):
    token = service.token(statement())

    receipts = await service.take([label(token), Judgement(token, "click", None)])

    assert [r.status for r in receipts] == ["accepted", "accepted"]
    assert receipts[1].relevant is None
    assert len(await log.read()) == 2


async def test_a_bad_token_leaves_the_others_alone(service, log):
    old = service.token(statement(issued=NOW - 101))

    receipts = await service.take([label("x"), label(service.token(statement())), label(old)])

    assert [(r.status, r.reason) for r in receipts] == [
        ("rejected", "forged"),
        ("accepted", None),
        ("rejected", "expired"),
    ]
    assert len(await log.read()) == 1


async def test_nothing_is_written_where_no_token_is_accepted(service, log):
    await log.close()

    [receipt] = await service.take([label("x")])

    assert receipt.reason == "forged"


async def test_a_tenant_has_a_desk_of_its_own(service):
    acme = service.for_tenant("acme")
    token = acme.token(statement(tenant=acme.tenant))

    [theirs] = await service.for_tenant("other").take([label(token)])
    [own] = await acme.take([label(token)])

    assert (theirs.reason, own.status) == ("unknown", "accepted")
    assert service.tenant == ""


@pytest.mark.parametrize(
    ("judgements", "pointer"),
    [
        ([], "/feedback"),
        ([label("x")] * (MAX_FEEDBACK + 1), "/feedback"),
        ([label("x"), Judgement("x", "click", True)], "/feedback/1/relevant"),
    ],
)
async def test_judgements_without_sense_are_refused(service, judgements, pointer):
    with pytest.raises(InvalidInputError) as caught:
        await service.take(judgements)

    assert caught.value.pointer == pointer


def test_a_refusal_says_why():
    assert "another tenant" in str(FeedbackRejectedError("unknown"))
