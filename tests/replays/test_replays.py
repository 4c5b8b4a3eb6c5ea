"""Every replay of this folder, through the whole gateway, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import virtual
from support.replays.check import problems
from support.replays.file import all_replays, load_replay
from support.replays.player import play_whole


@pytest.mark.parametrize("name", all_replays())
def test_the_call_goes_as_it_was_recorded(name: str, tmp_path: Path) -> None:
    replay = load_replay(name)
    expected = replay.expected()
    outcome = virtual.run(play_whole(replay, tmp_path))
    wrong = problems(expected, outcome)
    assert not wrong, "\n".join(["", *wrong, "", *outcome.summary_lines()])
