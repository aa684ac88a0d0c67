"""`clinfonce repair` where DVC locks by links, as on file systems without locks."""

from pathlib import Path

import pytest

from doctor.recorded_project import A, damage, dvc, run_repair

pytestmark = pytest.mark.slow


def test_links_serve_as_locks(root: Path) -> None:
    (root / ".dvc/tmp/lock").unlink(missing_ok=True)
    dvc("config", "core.hardlink_lock", "true")
    damage(root / A)
    run_repair(A)
    assert not (root / A).exists()
