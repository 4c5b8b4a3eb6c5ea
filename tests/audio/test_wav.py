"""Tests for reading and writing WAV files."""

from __future__ import annotations

import io
import os
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio.formats import PCM16_8K, PCM16_16K, PCM16_24K, PCMA_8K, PCMU_8K, AudioFormat, Coding
from audio.wav import WavError, WavWriter, interleave, read_sound, read_wav, write_wav

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


def test_a_file_that_the_standard_library_writes_is_read() -> None:
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


def test_unknown_chunks_are_skipped() -> None:
    content = riff(
        chunk(b"LIST", b"abc"), fmt(), chunk(b"bext", bytes(602)), chunk(b"data", b"\1\0"), chunk(b"id3 ", b"")
    )
    assert read_wav(content) == (PCM16_8K, [b"\1\0"])


def test_an_extensible_format_is_read_by_its_sub_format() -> None:
    tail = bytes.fromhex("000000001000800000aa00389b71")
    body = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 8000, 1, 8, 22, 8, 4, 7) + tail
    assert read_wav(riff(chunk(b"fmt ", body), chunk(b"data", b"\xff"))) == (PCMU_8K, [b"\xff"])


@pytest.mark.parametrize("claimed", [0xFFFF_FFFF, 0x7FFF_F000])
def test_with_the_unknown_length_of_a_pipe_the_rest_of_the_file_is_sound(claimed: int) -> None:
    content = riff(fmt()) + struct.pack("<4sI", b"data", claimed) + b"\1\0\2\0\3"
    assert read_wav(content) == (PCM16_8K, [b"\1\0\2\0"])


NOISE = bytes((17 * at * at + at) % 251 for at in range(1, 4001))  # 2,000 samples, with all kinds of bytes
LENGTHS = struct.pack("<QQQI", 0, 4000, 2000, 0)  # as in RF64


def data(size: int, body: bytes = NOISE) -> bytes:
    return struct.pack("<4sI", b"data", size) + body


def rf64(*chunks: bytes, magic: bytes = b"RF64") -> bytes:
    return magic + b"\xff\xff\xff\xffWAVE" + b"".join(chunks)


@pytest.mark.parametrize(
    "content",
    [
        riff(fmt()) + data(0),
        b"RIFF\0\0\0\0WAVE" + fmt() + data(0),
        b"RIFF\xff\xff\xff\xffWAVE" + fmt() + data(0xFFFF_FFFF),
        riff(fmt(), chunk(b"LIST", b"abcd")) + data(0xFFFF_FFDB),
        riff(fmt()) + data(0x8000_0000),
        rf64(chunk(b"ds64", LENGTHS), fmt(), data(0xFFFF_FFFF)),
        rf64(chunk(b"ds64", LENGTHS), fmt(), data(0xFFFF_FFFF), chunk(b"LIST", b"abc")),
        rf64(chunk(b"ds64", LENGTHS), fmt(), data(0xFFFF_FFFF), magic=b"BW64"),
        rf64(chunk(b"ds64", bytes(28)), fmt(), data(0xFFFF_FFFF)),
        rf64(chunk(b"ds64", b"\xff" * 28), fmt(), data(0xFFFF_FFFF)),
        rf64(fmt(), data(0xFFFF_FFFF)),
        rf64(fmt(), data(4000)),
        riff(fmt(), chunk(b"LIST", b"abc"), data(4000)),
        riff(fmt(), chunk(b"LIST", b"abc")[:-1], data(4000)),
        riff(fmt(), chunk(b"odd1", b"abc")[:-1], data(4000)),
        riff(chunk(b"LIST", b"abc")[:-1], fmt(), chunk(b"bext", b"a")[:-1], data(4000)),
        riff(fmt(), struct.pack("<4sI", b"LIST", 0x7000_0000) + b"abcd", data(4000)),
        riff(fmt(), data(4000), chunk(b"LIST", b"abc"), chunk(b"id3 ", b"d")),
        riff(fmt(), data(4000), b"\0\0\0"),
        riff(fmt(), data(0, b""), chunk(b"LIST", b"ab"), data(4000)),
        riff(fmt(frame_bytes=0), data(4000)),
    ],
)  # fmt: skip
def test_sound_is_found_despite_wrong_lengths_and_missing_padding(content: bytes) -> None:
    sound = read_sound(content)
    assert (sound.format, sound.channels, sound.remark) == (PCM16_8K, [NOISE], "")


def test_missing_and_extra_bytes_are_reported() -> None:
    whole = riff(fmt(), data(4000))
    cut = read_sound(whole[:-3001])
    assert cut.channels == [NOISE[:998]]
    assert cut.remark == "is cut short: 4000 bytes of sound are announced, but only 999 are there"
    assert read_sound(whole + NOISE[:100]).remark == "100 bytes after its sound are not read"
    assert read_sound(whole + NOISE[:100]).channels == [NOISE]


EXTENDED = bytes.fromhex("000000001000800000aa00389b71")


@pytest.mark.parametrize(
    ("written", "sound", "samples"),
    [
        (fmt(bits=8, frame_bytes=1), bytes([0, 64, 128, 255]), (-32768, -16384, 0, 32512)),
        (fmt(bits=12), struct.pack("<4h", -32768, 16, 0, 32752), (-32768, 16, 0, 32752)),
        (fmt(bits=24, frame_bytes=3), b"\0\0\x80\xff\0\x01\0\0\0\xff\xff\x7f", (-32768, 256, 0, 32767)),
        (fmt(bits=24, frame_bytes=4), struct.pack("<4i", -(1 << 31), 1 << 24, 0, 1 << 30), (-32768, 256, 0, 16384)),
        (fmt(bits=32, frame_bytes=4), struct.pack("<4i", -(1 << 31), 1 << 24, 0, 1 << 30), (-32768, 256, 0, 16384)),
        (fmt(3, bits=32, frame_bytes=4), struct.pack("<4f", -1, 0.5, 0, 1), (-32768, 16384, 0, 32767)),
        (fmt(3, bits=64, frame_bytes=8), struct.pack("<4d", -9, 0.25, 1e300, float("nan")), (-32768, 8192, 32767, 0)),
        (fmt(3, bits=32, frame_bytes=4), struct.pack("<2f", float("inf"), float("-inf")), (0, 0)),
        (
            chunk(b"fmt ", struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 0, 4, 32, 22, 24, 4, 1) + EXTENDED),
            struct.pack("<2i", -(1 << 31), 1 << 24),
            (-32768, 256),
        ),
        (
            chunk(b"fmt ", struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 0, 4, 32, 22, 32, 4, 3) + EXTENDED),
            struct.pack("<2f", 0.5, -0.5),
            (16384, -16384),
        ),
    ],
)
def test_samples_of_every_width_become_16_bits(written: bytes, sound: bytes, samples: tuple[int, ...]) -> None:
    assert read_wav(riff(written, chunk(b"data", sound))) == (PCM16_8K, [struct.pack(f"<{len(samples)}h", *samples)])


def test_more_than_two_channels_are_read() -> None:
    sound = struct.pack("<6h", 1, 2, 3, 4, 5, 6)
    channels = [struct.pack("<2h", at, at + 3) for at in (1, 2, 3)]
    assert read_wav(riff(fmt(channels=3, frame_bytes=6), chunk(b"data", sound))) == (PCM16_8K, channels)
    law = fmt(tag=6, channels=4, bits=8, frame_bytes=4)
    assert read_wav(riff(law, chunk(b"data", b"abcdefgh"))) == (PCMA_8K, [b"ae", b"bf", b"cg", b"dh"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"RIFF", "is not a RIFF WAVE file"),
        (b"<html>" + bytes(40), "is not a RIFF WAVE file"),
        (b"OggS" + bytes(40), "is an Ogg file, which is not supported; convert it"),
        (b"ID3\4" + bytes(40), "is an MP3 file"),
        (bytes(4) + b"ftypM4A " + bytes(40), "is an MP4 or M4A file"),
        (b"RIFX" + riff(fmt())[4:], "is a big-endian WAV file"),
        (riff(), "has no format"),
        (riff(fmt()), "holds no sound"),
        (riff(chunk(b"data", b"\0\0")), "has its data before its format"),
        (riff(fmt(), chunk(b"data", bytes(100)))[:-100], "holds no sound"),
        (riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"abc")), "holds no sound"),
        (riff(fmt(), chunk(b"data", b"")), "holds no sound"),
        (riff(fmt(), chunk(b"LIST", bytes(30)))[:-20], "is cut short in its 'LIST' chunk"),
        (riff(fmt())[:-4], "is cut short in its 'fmt ' chunk"),
        (riff(chunk(b"fmt ", b"\1\0")), "has a format chunk of 2 bytes"),
        (riff(fmt(tag=0x11, bits=4, frame_bytes=1)), "has the encoding 0x0011 (IMA ADPCM); supported are PCM"),
        (riff(fmt(tag=0x1234)), "has the encoding 0x1234; supported are PCM"),
        (riff(fmt(tag=3)), "has 16-bit floats"),
        (riff(fmt(bits=64, frame_bytes=8)), "has 64-bit PCM"),
        (riff(fmt(bits=0, frame_bytes=0)), "has 0-bit PCM"),
        (riff(fmt(tag=7)), "has 16-bit mu-law"),
        (riff(fmt(channels=65, frame_bytes=130)), "has 65 channels"),
        (riff(fmt(channels=0, frame_bytes=0)), "has 0 channels"),
        (riff(fmt(rate_hz=0)), "has 0 samples a second"),
        (riff(fmt(rate_hz=1_000_000)), "has 1000000 samples a second"),
        (riff(fmt(frame_bytes=3)), "has 3 bytes for 1 samples"),
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
    assert 1 <= len(channels) <= 64
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


def test_channels_that_do_not_fit_a_wav_file_are_refused(tmp_path: Path) -> None:
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


def test_a_file_stays_within_its_32_bit_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audio.wav.MAX_DATA_BYTES", 6)
    with WavWriter(tmp_path / "a.wav", PCM16_8K, 1) as wav:
        wav.write(b"abcd")
        with pytest.raises(ValueError, match="less than 4 GiB"):
            wav.write(b"efgh")
    assert read_wav(tmp_path / "a.wav") == (PCM16_8K, [b"abcd"])


@pytest.mark.recordings
def test_files_recorded_by_other_programs_are_read() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip(f"needs the shared recordings in {RECORDINGS}")
    found = {path.name: read_wav(path) for path in RECORDINGS.glob("*.wav")}
    format, channels = found["two-party-call-ulaw-stereo.wav"]
    assert (format, len(channels)) == (AudioFormat(Coding.PCMU, 8000), 2)
    assert len(channels[0]) / 8000 == pytest.approx(70.9, abs=0.1)
    assert found["hello_world.wav"][0] == PCM16_24K


def test_a_file_with_too_many_chunks_is_refused_at_once() -> None:
    for parts in (chunk(b"JUNK", b"") * 1_000_000, chunk(b"data", b"") * 100_000):
        with pytest.raises(WavError, match="more than 1000 chunks"):
            read_sound(riff(fmt(), parts))


def test_a_pipe_a_folder_and_a_file_above_the_maximum_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(OSError, match=r"pipe\.wav is a named pipe"):
        read_sound(tmp_path / "pipe.wav")
    with pytest.raises(OSError, match="is a folder"):
        read_sound(tmp_path)
    (tmp_path / "a.wav").touch()
    os.truncate(tmp_path / "a.wav", 2 << 30)
    with pytest.raises(OSError, match=r"a\.wav has 2147483648 bytes; at most 268435456 are read"):
        read_sound(tmp_path / "a.wav")
    with pytest.raises(OSError, match="at most 100 are read"):
        read_sound(tmp_path / "a.wav", 100)
