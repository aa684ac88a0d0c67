from pathlib import Path

import pytest

from pipeline.times import seconds_of, timed


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINFONCE_STATE_DIR", str(tmp_path / "state"))


def test_the_time_belongs_to_the_bytes_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("pipeline.times.time.monotonic", lambda: next(ticks))
    made = tmp_path / "metrics.json"
    with timed("evaluate@chosen", made):
        made.write_text("1")
    assert seconds_of("evaluate@chosen", made) == 2.5
    assert seconds_of("evaluate@label", made) is None
    made.write_text("2")
    assert seconds_of("evaluate@chosen", made) is None, "DVC has brought another run's file"
    made.unlink()
    assert seconds_of("evaluate@chosen", made) is None


def test_a_stage_that_failed_leaves_no_time(tmp_path: Path) -> None:
    made = tmp_path / "metrics.json"
    made.write_text("of the run before")
    with pytest.raises(ValueError, match="broken"), timed("evaluate@chosen", made):
        raise ValueError("broken")
    assert seconds_of("evaluate@chosen", made) is None


@pytest.mark.parametrize("told", ["", "[]", '{"made": "x"}', "{"])
def test_a_damaged_note_is_none(tmp_path: Path, told: str) -> None:
    made, note = tmp_path / "metrics.json", tmp_path / "state/times/ingest.json"
    made.write_text("1")
    note.parent.mkdir(parents=True)
    note.write_text(told)
    assert seconds_of("ingest", made) is None
