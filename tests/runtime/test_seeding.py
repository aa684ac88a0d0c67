from pipeline.runtime.seeding import derived_seed, numpy_generator


def test_seeds_differ_by_every_part_of_the_name() -> None:
    names: list[tuple[str | int, ...]] = [(), ("a",), ("a", 1), ("a", 11), ("a", 1, 1), ("a1",), ("b", 1)]
    seeds = [derived_seed(1), *(derived_seed(0, *name) for name in names)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_do_not_change_between_versions() -> None:
    """They decide every result: another value here means that no run can be repeated."""
    assert derived_seed(0, "views", 3, 14) == 696556761832420769
    assert numpy_generator(0, "a").integers(1000) == numpy_generator(0, "a").integers(1000)
