"""WAV files in and out."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding
from audio.wav import WavError, WavWriter, interleave, read_wav, write_wav

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) % 2)


def fmt(tag: int = 1, channels: int = 1, rate_hz: int = 8000, frame_bytes: int = 2, bits: int = 16) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, bits))


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


@pytest.mark.parametrize("format", [PCM16_8K, PCM16_24K, PCMU_8K, PCMA_8K], ids=str)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_read_back(tmp_path: Path, format: AudioFormat, channels: int) -> None:
    sides = [bytes(range(i, i + 102)) for i in range(channels)]
    write_wav(tmp_path / "a.wav", format, sides)
    assert read_wav(tmp_path / "a.wav") == (format, sides)
    assert read_wav(str(tmp_path / "a.wav")) == (format, sides)
    assert read_wav((tmp_path / "a.wav").read_bytes()) == (format, sides)


def test_an_odd_number_of_bytes_is_padded_and_read_back(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", PCMU_8K, [b"abc"])
    content = (tmp_path / "a.wav").read_bytes()
    assert len(content) % 2 == 0
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    assert read_wav(content) == (PCMU_8K, [b"abc"])


def test_the_standard_library_reads_what_is_written(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", PCM16_16K, [b"\1\0\2\0", b"\3\0\4\0"])
    with wave.open(str(tmp_path / "a.wav")) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getsampwidth()) == (2, 16000, 2)
        assert wav.readframes(9) == b"\1\0\3\0\2\0\4\0"


def test_what_the_standard_library_writes_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(24000)
        wav.writeframes(b"\1\0\3\0\2\0\4\0")
    assert read_wav(file.getvalue()) == (PCM16_24K, [b"\1\0\2\0", b"\3\0\4\0"])


def test_a_file_is_written_piece_by_piece(tmp_path: Path) -> None:
    with WavWriter(tmp_path / "a.wav", PCM16_8K, 2) as wav:
        wav.write(b"\1\0\2\0")
        wav.write(b"")
        wav.write(b"\3\0\4\0")
    wav.close()
    assert read_wav(tmp_path / "a.wav") == (PCM16_8K, [b"\1\0\3\0", b"\2\0\4\0"])


def test_chunks_that_are_not_known_are_skipped() -> None:
    content = riff(
        chunk(b"LIST", b"abc"), fmt(), chunk(b"bext", bytes(602)), chunk(b"data", b"\1\0"), chunk(b"id3 ", b"")
    )
    assert read_wav(content) == (PCM16_8K, [b"\1\0"])


def test_an_extensible_format_is_read_by_its_sub_format() -> None:
    tail = bytes.fromhex("000000001000800000aa00389b71")
    body = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 8000, 1, 8, 22, 8, 4, 7) + tail
    assert read_wav(riff(chunk(b"fmt ", body), chunk(b"data", b"\xff"))) == (PCMU_8K, [b"\xff"])


@pytest.mark.parametrize("claimed", [0xFFFF_FFFF, 0x7FFF_F000])
def test_a_length_unknown_to_a_pipes_writer_is_the_rest_of_the_file(claimed: int) -> None:
    content = riff(fmt()) + struct.pack("<4sI", b"data", claimed) + b"\1\0\2\0\3"
    assert read_wav(content) == (PCM16_8K, [b"\1\0\2\0"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a RIFF WAVE file"),
        (b"OggS" + bytes(40), "is not a RIFF WAVE file"),
        (riff(), "has no format"),
        (riff(fmt()), "holds no sound"),
        (riff(chunk(b"data", b"\0\0")), "has its data before its format"),
        (riff(fmt(), chunk(b"data", bytes(100)))[:-40], "is cut short: 100 bytes of sound are announced, 60 are there"),
        (riff(fmt())[:-4], "is cut short in its b'fmt ' part"),
        (riff(chunk(b"fmt ", b"\1\0")), "has a format of 2 bytes"),
        (riff(fmt(tag=3, bits=32, frame_bytes=4)), "holds encoding 0x0003"),
        (riff(fmt(bits=24, frame_bytes=3)), "holds 24-bit pcm16"),
        (riff(fmt(tag=7)), "holds 16-bit pcmu"),
        (riff(fmt(channels=6, frame_bytes=12)), "has 6 channels"),
        (riff(fmt(channels=0, frame_bytes=0)), "has 0 channels"),
        (riff(fmt(rate_hz=0)), "claims 0 samples a second"),
        (riff(fmt(rate_hz=1_000_000)), "claims 1000000 samples a second"),
        (riff(fmt(frame_bytes=4)), "claims 4 bytes for 1 samples"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(WavError, match=r"bad\.wav: ") as caught:
        read_wav(tmp_path / "bad.wav")
    assert caught.value.reason.startswith(reason)
    with pytest.raises(ValueError, match=r"^WAV bytes: "):
        read_wav(content)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav")


VALID = riff(fmt(channels=2, frame_bytes=4), chunk(b"data", bytes(range(40))))


def read_or_refuse(content: bytes) -> None:
    try:
        format, channels = read_wav(content)
    except WavError:
        return
    assert 1 <= len(channels) <= 2
    assert len({len(channel) for channel in channels}) == 1
    assert len(channels[0]) % format.sample_bytes == 0


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(VALID)))
def test_damaged_bytes_are_read_or_refused(changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(VALID)
    for at, value in changes:
        content[at] = value
    read_or_refuse(bytes(content[:length]))
    read_or_refuse(bytes(content))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read_or_refuse(content)
    read_or_refuse(b"RIFF\xff\xff\xff\xffWAVE" + content)
    read_or_refuse(VALID[:36] + content)


def test_what_cannot_be_a_wav_file_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in length"):
        write_wav(tmp_path / "a.wav", PCM16_8K, [b"\0\0", b""])
    with pytest.raises(ValueError, match="0 channels"):
        write_wav(tmp_path / "a.wav", PCM16_8K, [])
    with pytest.raises(ValueError, match="3 channels"):
        write_wav(tmp_path / "a.wav", PCM16_8K, [b"", b"", b""])
    with pytest.raises(ValueError, match="not whole samples"):
        write_wav(tmp_path / "a.wav", PCM16_8K, [b"abc"])
    with pytest.raises(ValueError, match="not whole samples"):
        interleave(PCM16_8K, b"a", b"b")
    with pytest.raises(ValueError, match="size"):
        interleave(PCMU_8K, b"ab", b"b")


def test_a_file_never_outgrows_its_32_bit_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audio.wav.MAX_DATA_BYTES", 6)
    with WavWriter(tmp_path / "a.wav", PCM16_8K, 1) as wav:
        wav.write(b"abcd")
        with pytest.raises(ValueError, match="less than 4 GiB"):
            wav.write(b"efgh")
    assert read_wav(tmp_path / "a.wav") == (PCM16_8K, [b"abcd"])


@pytest.mark.recordings
def test_recorded_files_of_other_makers_are_read() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip(f"needs the shared recordings in {RECORDINGS}")
    found = {path.name: read_wav(path) for path in RECORDINGS.glob("*.wav")}
    format, channels = found["two-party-call-ulaw-stereo.wav"]
    assert (format, len(channels)) == (AudioFormat(Coding.PCMU, 8000), 2)
    assert len(channels[0]) / 8000 == pytest.approx(70.9, abs=0.1)
    assert found["hello_world.wav"][0] == PCM16_24K
