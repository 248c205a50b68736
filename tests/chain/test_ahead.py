"""Reading ahead never changes what is read."""

import pytest

from chain.ahead import Ahead
from chain.errors import RpcLimited


class Node:
    def __init__(self):
        self.asked = []

    def fetch(self, first, last):
        self.asked.append((first, last))
        if last - first >= 100:
            raise RpcLimited("too many")
        return list(range(first, last + 1))


def test_the_answer_that_was_asked_for_is_taken_once():
    node = Node()
    ahead = Ahead(node.fetch)
    ahead.ask(1, 3)
    assert ahead.take(1, 3) == [1, 2, 3]
    assert node.asked == [(1, 3)]
    assert ahead.take(1, 3) == [1, 2, 3]
    assert node.asked == [(1, 3), (1, 3)]


def test_another_range_than_expected_is_asked_anew():
    node = Node()
    ahead = Ahead(node.fetch)
    ahead.ask(1, 3)
    assert ahead.take(2, 3) == [2, 3]
    assert ahead.take(1, 3) == [1, 2, 3]
    assert sorted(node.asked) == [(1, 3), (1, 3), (2, 3)]


def test_a_refusal_is_raised_where_the_answer_is_taken():
    ahead = Ahead(Node().fetch)
    ahead.ask(1, 200)
    with pytest.raises(RpcLimited):
        ahead.take(1, 200)
    assert ahead.take(1, 2) == [1, 2]
