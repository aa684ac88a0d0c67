from pathlib import Path

import pytest

from pipeline.storage.timings import seconds_of, timed


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))


def test_the_time_belongs_to_the_bytes_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("pipeline.storage.timings.time.monotonic", lambda: next(ticks))
    result = tmp_path / "metrics.json"
    with timed("evaluate@chosen", result):
        result.write_text("1")
    assert seconds_of("evaluate@chosen", result) == 2.5
    assert seconds_of("evaluate@label", result) is None
    result.write_text("2")
    assert seconds_of("evaluate@chosen", result) is None, "DVC has brought another run's file"
    result.unlink()
    assert seconds_of("evaluate@chosen", result) is None


def test_a_stage_that_failed_leaves_no_time(tmp_path: Path) -> None:
    result = tmp_path / "metrics.json"
    result.write_text("of the run before")
    with pytest.raises(ValueError, match="broken"), timed("evaluate@chosen", result):
        raise ValueError("broken")
    assert seconds_of("evaluate@chosen", result) is None


@pytest.mark.parametrize("output", ["", "[]", '{"made": "x"}', "{"])
def test_a_damaged_note_is_none(tmp_path: Path, output: str) -> None:
    result, note = tmp_path / "metrics.json", tmp_path / "state/times/ingest.json"
    result.write_text("1")
    note.parent.mkdir(parents=True)
    note.write_text(output)
    assert seconds_of("ingest", result) is None
