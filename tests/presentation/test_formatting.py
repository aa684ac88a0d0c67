import pytest

from pipeline.presentation.formatting import (
    MINUS,
    NOTHING,
    count,
    number,
    percent,
    plural,
    points,
    seconds,
    sentence,
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.745), "74.5 %"),
        (percent(None), NOTHING),
        (percent(float("nan")), NOTHING),
        (points(0.055), "+5.5"),
        (points(-0.055), f"{MINUS}5.5"),
        (points(-0.0001), "0.0"),
        (points(0.0001), "0.0"),
        (points(0.055, signed=False), "5.5"),
        (number(-1.256), f"{MINUS}1.26"),
        (number(-0.001), "0.00"),
        (count(11133.0), "11,133"),
        (seconds(12.34), "12.3 s"),
        (seconds(600), "10 min"),
        (seconds(9000), "2.5 h"),
        (plural(1, "image"), "1 image"),
        (plural(2, "class", "classes"), "2 classes"),
        (sentence("half of it"), "Half of it."),
        (sentence("Is it?"), "Is it?"),
    ],
)
def test_as_people_read_it(shown: str, expected: str) -> None:
    assert shown == expected
