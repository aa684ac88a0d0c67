from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.split import split_by_content

rows = st.lists(st.tuples(st.binary(min_size=1, max_size=2), st.sampled_from(["a", "b", None])), max_size=60)


@given(rows, st.floats(0.05, 0.95))
def test_equal_content_never_straddles_and_each_label_gives_its_share(
    data: list[tuple[bytes, str | None]], fraction: float
) -> None:
    hashes, labels = [row[0] for row in data], [row[1] for row in data]
    splits = split_by_content(hashes, labels, fraction)
    sides: dict[bytes, set[str]] = {}
    for content, split in zip(hashes, splits, strict=True):
        sides.setdefault(content, set()).add(split)
    assert all(len(own) == 1 for own in sides.values())
    label_of = {c: min(lb or "" for h, lb in data if h == c) for c in sides}
    for label, total in Counter(label_of.values()).items():
        in_test = sum(side == {"test"} for c, side in sides.items() if label_of[c] == label)
        usual = round(total * fraction)
        assert in_test == (min(max(1, usual), total - 1) if label and total > 1 else usual)


@given(rows)
def test_the_order_of_the_rows_does_not_matter(data: list[tuple[bytes, str | None]]) -> None:
    def side_of(rows: list[tuple[bytes, str | None]]) -> dict[bytes, str]:
        hashes = [content for content, _ in rows]
        return dict(zip(hashes, split_by_content(hashes, [label for _, label in rows], 0.3), strict=True))

    assert side_of(data) == side_of(data[::-1])
