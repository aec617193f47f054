"""docs/studio.md: every curl in it does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support import pages
from support.studio import BEARER, running_studio

from tinygrad_cnn.data import digits

TIMED_OUT = 28  # what curl says when it has read events for as long as it was told to


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_curl_of_the_page_is_answered(tmp_path: Path) -> None:
    from PIL import Image

    labels = digits().test.labels.tolist()
    Image.fromarray(digits().test.images[labels.index(3), 0]).save(tmp_path / "three.png")
    text = (pages.ROOT / "docs" / "studio.md").read_text("utf-8")
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("curl ")
    ]
    assert len(commands) > 5
    with running_studio(tmp_path) as studio:
        # the run of the page has number 2, after that of the first model
        bearer = f"Authorization: {BEARER['Authorization']}"
        first = ["curl", "-H", bearer, "--json", '{"model": "mlp", "hidden": [4], "epochs": 1}']
        subprocess.run([*first, f"{studio.url}/api/runs"], capture_output=True, check=True)
        for command in commands:
            here = command.replace("http://127.0.0.1:8017", studio.url).replace("$BEARER", bearer)
            words = shlex.split(here)
            said = subprocess.run(
                [*words, "--silent", "--show-error", "--fail-with-body"],
                cwd=tmp_path,
                capture_output=True,
                encoding="utf-8",
            )
            expected = TIMED_OUT if "/api/events" in command else 0
            assert said.returncode == expected, f"{command}\n{said.stdout}{said.stderr}"
            assert said.stdout or "--output" in words, command
