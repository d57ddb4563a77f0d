from hypothesis import given
from hypothesis import strategies as st

from sokken.operator.cluster.cache import Cache, Change, Happening


def thing(name="a", uid="u1", version=1, namespace="team"):
    return {"metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}}


def told(changes):
    return [(change.happening.value, change.manifest["metadata"]["uid"]) for change in changes]


def test_a_list_is_told_as_what_it_changes():
    cache = Cache()
    assert told(cache.replace([thing("a", "1"), thing("b", "2")])) == [("ADDED", "1"), ("ADDED", "2")]
    assert cache.replace([thing("a", "1"), thing("b", "2")]) == []
    assert told(cache.replace([thing("b", "2", 5), thing("c", "3")])) == [
        ("DELETED", "1"),
        ("MODIFIED", "2"),
        ("ADDED", "3"),
    ]
    assert len(cache) == 2


def test_an_object_that_has_come_in_anothers_place_is_another_one():
    cache = Cache()
    cache.replace([thing("a", "1")])
    assert told(cache.replace([thing("a", "2", 9)])) == [("DELETED", "1"), ("ADDED", "2")]
    assert told(cache.take(Happening.MODIFIED, thing("a", "3", 10))) == [("DELETED", "2"), ("ADDED", "3")]


def test_events_that_are_told_twice_are_no_news():
    cache = Cache()
    assert told(cache.take(Happening.ADDED, thing())) == [("ADDED", "u1")]
    assert cache.take(Happening.ADDED, thing()) == []
    assert cache.take(Happening.MODIFIED, thing()) == []
    assert told(cache.take(Happening.ADDED, thing(version=2))) == [("MODIFIED", "u1")]
    assert told(cache.take(Happening.DELETED, thing(version=3))) == [("DELETED", "u1")]
    assert cache.take(Happening.DELETED, thing(version=3)) == []


def test_the_end_of_one_that_has_a_successor_already_is_no_news():
    cache = Cache()
    cache.take(Happening.ADDED, thing(uid="2", version=8))
    assert cache.take(Happening.DELETED, thing(uid="1", version=7)) == []
    assert cache.get(("team", "a")) == thing(uid="2", version=8)


things = st.builds(
    thing, st.sampled_from("abc"), st.sampled_from(["1", "2"]), st.integers(1, 4), st.sampled_from(["x", "y"])
)
steps = st.one_of(
    st.lists(things, max_size=5).map(lambda found: ("list", found)),
    st.tuples(st.sampled_from(list(Happening)), things),
)


@given(st.lists(steps, max_size=12))
def test_who_follows_the_changes_knows_what_the_cache_knows(story):
    cache, followed = Cache(), {}

    def follow(changes: list[Change]) -> None:
        for change in changes:
            metadata = change.manifest["metadata"]
            key = metadata["namespace"], metadata["name"]
            known = followed.get(key)
            match change.happening:
                case Happening.ADDED:
                    assert known is None
                    followed[key] = change.manifest
                case Happening.MODIFIED:
                    assert known is not None
                    assert known["metadata"]["uid"] == metadata["uid"]
                    followed[key] = change.manifest
                case Happening.DELETED:
                    assert known is not None
                    del followed[key]

    for kind, found in story:
        follow(cache.replace(found) if kind == "list" else cache.take(kind, found))
        assert sorted(map(repr, cache)) == sorted(map(repr, followed.values()))
