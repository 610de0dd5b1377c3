"""Announced writers, in memory and in MongoDB."""

from fhir_server.core.ports import Writer, Writers


async def test_what_was_announced_last_is_known_and_every_word_counts(writers: Writers) -> None:
    await writers.announce("a", None)
    await writers.announce("a", "x")
    await writers.announce("b", "")
    assert await writers.announced() == {"a": Writer("x", 2), "b": Writer("", 1)}


async def test_a_writer_withdraws(writers: Writers) -> None:
    await writers.announce("a", "x")
    await writers.withdraw("a")
    await writers.withdraw("a")
    assert await writers.announced() == {}


async def test_one_that_has_spoken_meanwhile_is_not_forgotten(writers: Writers) -> None:
    await writers.announce("a", "x")
    await writers.announce("a", "x")
    await writers.withdraw("a", 1)
    assert await writers.announced() == {"a": Writer("x", 2)}
    await writers.withdraw("a", 2)
    assert await writers.announced() == {}
