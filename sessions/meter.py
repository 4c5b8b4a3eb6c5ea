"""The sums of a call."""

from __future__ import annotations

from dataclasses import dataclass, field

from audio.line_in import LineCounts
from sessions.problems import OTHER, ModelProblem
from sessions.usage import TokenUsage

MAX_PROBLEMS = 16  # kinds of problems that are counted one by one; all others count as one kind


@dataclass(slots=True)
class Meter:
    """Adds up what a call has cost. Sound is counted in samples at the rate of the latest frame."""

    caller_samples: int = 0
    caller_rate_hz: int = 1
    agent_samples: int = 0
    agent_rate_hz: int = 1
    usage: TokenUsage = field(default_factory=TokenUsage)
    redials: int = 0
    dropped_ms: int = 0  # caller sound that connections to the model did not take in time
    line: LineCounts | None = None  # of the caller's line, where it is a telephone's
    problems: dict[ModelProblem, int] = field(default_factory=dict)  # reported by the model, and how often

    @property
    def caller_ms(self) -> int:
        """How much sound of the caller has come."""
        return self.caller_samples * 1000 // self.caller_rate_hz

    @property
    def agent_ms(self) -> int:
        """How much speech the model has brought."""
        return self.agent_samples * 1000 // self.agent_rate_hz

    def problem(self, problem: ModelProblem) -> None:
        """Count one more problem that the model has reported."""
        if problem not in self.problems and len(self.problems) >= MAX_PROBLEMS:
            problem = ModelProblem(OTHER, OTHER)
        self.problems[problem] = self.problems.get(problem, 0) + 1

    def caller_rate(self, rate_hz: int) -> None:
        """Convert the caller's sum: its sound comes at another rate from here on."""
        self.caller_samples = self.caller_samples * rate_hz // self.caller_rate_hz
        self.caller_rate_hz = rate_hz

    def agent_rate(self, rate_hz: int) -> None:
        """Convert the agent's sum: its sound comes at another rate from here on."""
        self.agent_samples = self.agent_samples * rate_hz // self.agent_rate_hz
        self.agent_rate_hz = rate_hz
