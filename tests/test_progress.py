"""Progress: lines in a log, a bar on a terminal, nothing on stdout."""

from __future__ import annotations

import pytest

from ssl_bench import progress


def test_lines_say_how_far_how_fast_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 of 100 were done before; 20 more in 10 s leave 40 at 2 a second: 20 s."""
    clock = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 5.0)
    with progress.progress("reading", 100, done=40) as advance:
        advance(20)
        advance(20)
        advance(20)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "reading: 60/100 img, 2 img/s, 20 s left",
        "reading: 80/100 img, 2 img/s, 10 s left",
        "reading: 100/100 img, 2 img/s, 0 s left",
    ]


def test_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("reading", 1000) as advance:
        for _ in range(1000):
            advance(1)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with progress.progress("reading", 3) as advance:
        advance(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err
