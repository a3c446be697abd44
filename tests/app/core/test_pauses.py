import asyncio

from app.core.pauses import TURNS, Pauses, pause


async def turns_during(work) -> int:
    """How many turns of the event loop others get while something is done."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    await work
    task.cancel()
    return turns


async def test_others_get_several_turns_in_a_pause():
    assert await turns_during(pause()) >= TURNS - 1


async def test_work_pauses_when_its_time_is_over_and_not_before():
    now = 0.0
    pauses = Pauses(seconds=1.0, clock=lambda: now)
    now = 0.9
    assert await turns_during(pauses.due()) == 0
    now = 1.0
    assert await turns_during(pauses.due()) > 0
    now = 1.9
    assert await turns_during(pauses.due()) == 0
