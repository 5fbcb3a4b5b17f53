"""Saying: what the library logs, whatever a program's own handlers and filters do."""

import logging

import pytest

from graceline.saying import say

log = logging.getLogger("graceline.test")


class Raises(logging.Handler):
    """Raises whenever a record comes."""

    def __init__(self, error=ValueError):
        super().__init__()
        self.error = error

    def emit(self, record):
        raise self.error


@pytest.fixture
def add(monkeypatch):
    """Puts a handler or a filter at the logger, for this test."""
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "filters", [])
    return lambda one: (
        log.addHandler(one) if isinstance(one, logging.Handler) else log.addFilter(one)
    )


def speak():
    say(log, logging.WARNING, "it_rained", "in %s", "Spain", where="plain")


def test_a_record_has_its_type_its_facts_and_its_place(caplog):
    """It says who said it, like a record that is logged without help."""
    try:
        raise KeyError("x")
    except KeyError as error:
        say(log, logging.ERROR, "it_broke", "broken", exc_info=error)
    speak()
    broke, rained = caplog.records
    assert (broke.event_type, broke.exc_info[0]) == ("it_broke", KeyError)
    assert (rained.event_type, rained.where, rained.getMessage()) == (
        "it_rained", "plain", "in Spain",
    )  # fmt: skip
    assert (rained.funcName, rained.exc_info) == ("speak", None)


def fails(record):
    raise ValueError


@pytest.mark.parametrize("broken", [Raises(), fails], ids=["handler", "filter"])
def test_what_raises_is_printed(add, capsys, monkeypatch, broken):
    """The traceback is on standard error, unless the program wants none of them."""
    add(broken)
    speak()
    assert "ValueError" in capsys.readouterr().err
    monkeypatch.setattr(logging, "raiseExceptions", False)
    speak()
    assert not capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes(add, error):
    """What is to end the program is not swallowed."""
    add(Raises(error))
    with pytest.raises(error):
        speak()
