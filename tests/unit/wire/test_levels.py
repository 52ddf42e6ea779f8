from __future__ import annotations

from mqwire.levels import LEVELS, Level


def test_the_words_in_order_weakest_first():
    assert list(LEVELS) == ["accepted", "written", "synced"]
    assert [level.word for level in Level] == list(LEVELS)


def test_levels_compare_by_how_far_a_record_has_come():
    assert Level.ACCEPTED < Level.WRITTEN < Level.SYNCED


def test_a_word_leads_back_to_its_level():
    assert all(LEVELS[level.word] is level for level in Level)
