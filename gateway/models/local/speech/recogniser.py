"""Recognises sentences of a dialogue's grammar with PocketSphinx while they are being spoken.

A closed grammar turns any sound into one of its sentences, so each result carries the evidence by which `verdict.py`
accepts or rejects it. A decoder takes 30 MB and 0.2 s to make, so decoders are pooled and made early.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from threading import Condition
from typing import Any

from gateway.models.local.dialogue.dfa import Dfa
from gateway.models.local.dialogue.dialogue import DialogueError
from gateway.models.local.dialogue.rules import Dialogue
from gateway.models.local.speech.detector import MissingPart

FRAMES_A_SECOND = 100
STEP_BYTES = 640  # 20 ms: the decoder holds the GIL for 0.3 ms at a time
# Steps that one call decodes of sound that has waited: 1 to 4 ms of work, and more sound than one window of voice
# detection brings.
STEPS_AT_ONCE = 4
LONGEST_BYTES = 15 * 32_000  # 15 s of one sentence; no sentence of a grammar takes longer
LEARN_S = 20.0  # how long `DecoderPool` waits for a decoder that is in use
MOST_GRAMMARS = 64  # in one decoder; past this the least recently used grammar is removed
# The mean cepstrum of telephone and desktop speech, from which each call's running average starts.
FIRST_MEANS = "40.8,1.7,-0.2,3.2,-0.3,-0.9,0,-0.2,-1.4,0,0,0,0"
# The word insertion probability; 1 accepts too many words. Tuned on the calibration lists of bench/offline_phrases.py.
WORD_INSERTION = 0.2
# The lattice search at a sentence's end is off, because it takes 20 to 60 ms without a pause. Without it the logarithm
# of a word's likelihood is smaller by this factor (SENSCR_SHIFT in pocketsphinx's hmm.h).
SCORE_STEP = 1024
_SMALLEST = 1e-320
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Part:
    """One word as the decoder aligned it: its length in frames of 10 ms, and the log likelihood of its sound."""

    word: str
    frames: int
    log_score: float


@dataclass(frozen=True, slots=True)
class Recognised:
    """The best sentence (which may be incomplete), the evidence of its words, and the number of frames decoded."""

    text: str
    parts: tuple[Part, ...]
    frames: int


class _Decoder:
    """One PocketSphinx decoder, with the grammars that it has learnt."""

    def __init__(self, sphinx: Any) -> None:
        self._sphinx = sphinx.Decoder(lm=None, loglevel="FATAL", wip=WORD_INSERTION, bestpath=False)
        self._grammars: OrderedDict[str, None] = OrderedDict()
        self._added: dict[str, list[str]] = {}  # pronunciations added to the dictionary, by word

    @property
    def grammars(self) -> int:
        """The number of grammars that the decoder holds."""
        return len(self._grammars)

    def learn(self, name: str, grammar: Dfa, pronunciations: dict[str, str]) -> None:
        """Add a grammar. Raises DialogueError for a word without a pronunciation."""
        if name in self._grammars:
            self._grammars.move_to_end(name)
            return
        for word in sorted(grammar.words):
            self._ensure_pronunciation(word, pronunciations)
        end = grammar.states
        arcs: list[tuple[Any, ...]] = [(start, to, 1.0, word) for start, to, word in grammar.arcs]
        arcs += [(state, end, 1.0) for state in grammar.ends]
        self._sphinx.add_fsg(name, self._sphinx.create_fsg(name, grammar.start, end, arcs))
        self._grammars[name] = None
        if len(self._grammars) > MOST_GRAMMARS:
            self._sphinx.remove_search(self._grammars.popitem(last=False)[0])

    def forget(self, names: Iterable[str]) -> None:
        """Remove grammars, which are most of a decoder's memory. Takes about 1 ms for each."""
        for name in names:
            if name in self._grammars:
                del self._grammars[name]
                self._sphinx.remove_search(name)

    def _ensure_pronunciation(self, word: str, pronunciations: dict[str, str]) -> None:
        phones = pronunciations.get(word)
        said = self._added.get(word)
        if phones is not None and said and phones not in said:  # a new version of the dialogue, or another dialogue
            self._add(word, f"{word}({len(said) + 1})", phones)
            return
        if self._sphinx.lookup_word(word) is not None:
            return
        if phones is None:
            raise DialogueError(
                f"pronunciations.{word}",
                f"the recogniser does not know the word {word!r}: write its phones here, as in CMUdict",
            )
        self._add(word, word, phones)

    def _add(self, word: str, name: str, phones: str) -> None:
        try:
            self._sphinx.add_word(name, phones, True)
        except RuntimeError as error:
            raise DialogueError(f"pronunciations.{word}", f"{phones!r} are not CMUdict phones") from error
        self._added.setdefault(word, []).append(phones)

    def start(self, name: str, means: str) -> None:
        """Begin a sentence of this grammar, with this mean cepstrum."""
        self._sphinx.activate_search(name)
        self._sphinx.reinit_feat()  # so that the same sound always gives the same result, whoever called before
        self._sphinx.set_cmn(means)
        self._sphinx.start_utt()

    def step(self, pcm16: bytes) -> None:
        """Decode further PCM16 at 16 kHz."""
        self._sphinx.process_raw(pcm16, False, False)

    def end(self) -> tuple[Recognised | None, str]:
        """End the sentence; returns the result and the new mean cepstrum."""
        self._sphinx.end_utt()
        frames = self._sphinx.n_frames()
        means = self._sphinx.get_cmn(False)
        hypothesis = self._sphinx.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return None, means
        parts = tuple(
            Part(segment.word, segment.end_frame - segment.start_frame + 1, _log_score(segment.ascore))
            for segment in self._sphinx.seg()
            if segment.word[0] not in "<[("
        )
        return Recognised(hypothesis.hypstr, parts, frames), means


def _log_score(likelihood: float) -> float:
    return math.log(max(likelihood, _SMALLEST)) * SCORE_STEP


class Vocabulary:
    """A dialogue's grammars, compiled once; `name` distinguishes them from other dialogues' in a decoder."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.name = f"g{next(_NUMBERS)}"
        self.pronunciations = dict(dialogue.pronunciations)
        self.grammars = {state: dialogue.grammar(state) for state in dialogue.states()}

    def teach(self, decoder: _Decoder, state: str) -> str:
        """Make sure that a decoder has the grammar of a state; returns its name there. Raises DialogueError."""
        name = f"{self.name}.{state}"
        decoder.learn(name, self.grammars[state], self.pronunciations)
        return name

    def teach_all(self, decoder: _Decoder) -> None:
        """Give a decoder the grammars of all states. Raises DialogueError."""
        for state in self.grammars:
            self.teach(decoder, state)

    def remove_from(self, decoder: _Decoder) -> None:
        """Remove all grammars from a decoder."""
        decoder.forget([f"{self.name}.{state}" for state in self.grammars])


class DecoderPool:
    """The process's decoders. A call uses one only while its caller speaks."""

    def __init__(self, decoders: int = 4) -> None:
        """Make the decoders; takes about 0.2 s for each. Raises MissingPart."""
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingPart("the local model needs pocketsphinx: pip install 'patchbay[local]'") from error
        self._all = tuple(_Decoder(pocketsphinx) for _ in range(decoders))
        self._free = deque(self._all)
        self._given_back = Condition()

    @property
    def grammars(self) -> int:
        """The number of grammars in all decoders together; each takes about 4 MB."""
        return sum(decoder.grammars for decoder in self._all)

    def teach(self, vocabulary: Vocabulary) -> None:
        """Give a dialogue's grammars to the decoders, before its first call. Raises DialogueError.

        Call it in a thread: each grammar holds the GIL for 10 to 20 ms. A decoder is out of the pool while it learns.
        This waits up to `LEARN_S` for a decoder in use; one that is skipped learns a grammar when a call needs it.
        """
        self._with_each_decoder(vocabulary.teach_all)

    def forget(self, vocabulary: Vocabulary) -> None:
        """Remove a dialogue's grammars from the decoders, after its last call. Call it in a thread, like `teach`."""
        self._with_each_decoder(vocabulary.remove_from)

    def _with_each_decoder(self, work: Callable[[_Decoder], object]) -> None:
        left = set(self._all)
        while left:
            with self._given_back:
                found = self._given_back.wait_for(lambda: next(filter(left.__contains__, self._free), None), LEARN_S)
                if found is None:
                    return
                self._free.remove(found)
            left.remove(found)
            try:
                work(found)
            finally:
                self.give_back(found)

    def take(self) -> _Decoder | None:
        """Take a decoder out of the pool; None while all are in use."""
        with self._given_back:
            return self._free.popleft() if self._free else None

    def give_back(self, decoder: _Decoder) -> None:
        """Return a decoder to the pool."""
        with self._given_back:
            self._free.append(decoder)
            self._given_back.notify_all()


class Recogniser:
    """Recognises one stream's sentences, each while it is spoken, as soon as a decoder is free."""

    def __init__(self, pool: DecoderPool, vocabulary: Vocabulary) -> None:
        self._pool = pool
        self._vocabulary = vocabulary
        self._means = FIRST_MEANS
        self._decoder: _Decoder | None = None
        self._state: str | None = None  # names the grammar of the present sentence; None between sentences
        self._waiting = bytearray()
        self._taken_bytes = 0

    def start(self, state: str) -> None:
        """Begin a sentence in this state of the dialogue; a sentence in progress is dropped."""
        self.drop()
        self._state = state
        self._taken_bytes = 0

    def feed(self, pcm16: bytes) -> None:
        """Take PCM16 at 16 kHz. Sound past `LONGEST_BYTES` is ignored."""
        room = LONGEST_BYTES - self._taken_bytes
        if self._state is None or room <= 0:
            return
        self._waiting += pcm16[:room]
        self._taken_bytes += len(pcm16)
        self._work()

    @property
    def busy(self) -> bool:
        """Whether sound waits for a decoder or to be decoded."""
        return self._state is not None and (self._decoder is None or len(self._waiting) >= STEP_BYTES)

    @property
    def waiting_ms(self) -> int:
        """How many ms of sound wait to be decoded."""
        return len(self._waiting) // (STEP_BYTES // 20)

    @property
    def complete(self) -> bool:
        """Whether the sentence was shorter than `LONGEST_BYTES`."""
        return self._taken_bytes < LONGEST_BYTES

    def work(self) -> None:
        """Decode sound that waits; takes a few ms at most."""
        self._work()

    def finish(self) -> Recognised | None:
        """End the sentence and return it; None: nothing was recognised. Must not be called while `busy`."""
        decoder, self._decoder = self._decoder, None
        self._state = None
        if decoder is None:
            return None
        if self._waiting:
            decoder.step(bytes(self._waiting))
            self._waiting.clear()
        result, self._means = decoder.end()
        self._pool.give_back(decoder)
        return result

    def drop(self) -> None:
        """Drop the sentence in progress."""
        self._waiting.clear()
        if self._decoder is not None:
            self._decoder.end()
            self._pool.give_back(self._decoder)
            self._decoder = None
        self._state = None

    def _work(self) -> None:
        if self._decoder is None:
            self._decoder = self._pool.take()
            if self._decoder is None:
                return
            assert self._state is not None
            self._decoder.start(self._vocabulary.teach(self._decoder, self._state), self._means)
        steps = min(len(self._waiting) // STEP_BYTES, STEPS_AT_ONCE)
        for begin in range(0, steps * STEP_BYTES, STEP_BYTES):
            self._decoder.step(bytes(self._waiting[begin : begin + STEP_BYTES]))
        del self._waiting[: steps * STEP_BYTES]
