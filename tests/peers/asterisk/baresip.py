"""baresip, a SIP telephone that others wrote, for one call from a WAV file into another."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from peers.asterisk.pbx import LIBRARIES, Asterisk, program

FILES = Path(__file__).parent / "baresip"


def call_by_baresip(asterisk: Asterisk, folder: Path, extension: str, speech: Path, seconds: int) -> Path:
    """Call an extension, play `speech`, hang up after so long, and return the file with what was heard.

    `speech` is a mono WAV file of 16-bit sound at 8 kHz; baresip hangs up at its end. `folder` is the call's own.
    """
    folder.mkdir()
    heard = folder / "heard.wav"
    for file in FILES.iterdir():
        if file.suffix != ".in":
            shutil.copy(file, folder)
    config = (FILES / "config.in").read_text()
    for name, value in {"ROOT": asterisk.root, "IN": speech, "OUT": heard}.items():
        config = config.replace(f"@{name}@", str(value))
    (folder / "config").write_text(config)
    command = program(asterisk.root, "usr/bin/baresip", f"{LIBRARIES}/pulseaudio")
    number = f"/dial sip:{extension}@127.0.0.1:{asterisk.sip_port}"
    options = ["-f", str(folder), "-n", "127.0.0.1", "-4", "-e", number, "-t", str(seconds)]
    done = subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        check=False,
    )
    (folder / "out").write_text(done.stdout + done.stderr)
    return heard
