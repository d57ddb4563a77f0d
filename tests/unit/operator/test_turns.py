"""How many Tunnels the operator rolls at once."""

from sokken.operator.turns import Turns


def test_one_at_a_time():
    turns = Turns(1)
    assert turns.take("a")
    assert turns.take("a")
    assert not turns.take("b")


def test_a_turn_ends_when_the_roll_out_has_been_seen_and_is_over():
    turns = Turns(1)
    turns.take("a")
    turns.note("a", is_rolling=False)  # of before the apply
    assert not turns.take("b")
    turns.note("a", is_rolling=True)
    assert not turns.take("b")
    turns.note("a", is_rolling=False)
    assert turns.take("b")


def test_a_turn_of_which_nothing_came():
    turns = Turns(1)
    turns.take("a")
    turns.release("a")
    assert turns.take("b")
    turns.note("b", is_rolling=True)
    turns.release("b")  # the Tunnel was deleted
    assert turns.take("a")


def test_roll_outs_of_before_a_restart_count():
    turns = Turns(2)
    turns.note("a", is_rolling=True)
    turns.note("c", is_rolling=False)
    assert turns.take("b")
    assert not turns.take("c")
    assert turns.take("a")
    assert repr(turns) == "<Turns 2 of 2>"
