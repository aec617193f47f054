"""What is installed and released: the files and the metadata of the wheel and of the sdist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
from support.machine import lacking
from support.pages import ROOT

from tinygrad_cnn.support.version import __version__

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = SETTINGS["project"]
NAME = f"tinygrad_cnn-{__version__}"
INFO = f"{NAME}.dist-info"
DIGITS = "tinygrad_cnn/data/embedded_digits"


def tracked() -> set[str]:
    """Return the names of the repository's files that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if done.returncode:
        lacking("a clone of the repository, and git")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the wheel and of the sdist, which is built first."""
    if not all(map(find_spec, ("build", "hatchling", "hatch_fancy_pypi_readme"))):
        lacking("build, hatchling and hatch-fancy-pypi-readme")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl")


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return HeaderParser().parsestr(wheel.read(f"{INFO}/METADATA").decode())


def test_the_wheel_has_the_files_of_the_package_and_no_others(wheel: zipfile.ZipFile) -> None:
    package = {name for name in tracked() if name.startswith("tinygrad_cnn/")}
    assert {"tinygrad_cnn/py.typed", f"{DIGITS}/train-images-idx3-ubyte.gz"} <= package
    licenses = {f"{INFO}/licenses/{name}" for name in PROJECT["license-files"]}
    others = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    moved = SETTINGS["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    package = package - {*moved} | {*moved.values()}  # pytest imports its plugin by itself
    assert {*wheel.namelist()} == package | licenses | others


def test_the_sdist_has_every_file_of_the_repository(built: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        files = {str(PurePosixPath(*Path(m.name).parts[1:])) for m in sdist if m.isfile()}
    assert files == tracked() | {"PKG-INFO"}


def test_the_licenses_are_stated_and_included(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT AND CC-BY-SA-3.0"
    assert metadata.get_all("License-File") == PROJECT["license-files"]
    text = wheel.read(f"{INFO}/licenses/{DIGITS}/LICENSE").decode()
    assert "Attribution-ShareAlike 3.0 Unported" in text
    assert "8. Miscellaneous" in text


def test_the_metadata_name_people_addresses_and_pythons(metadata: Message) -> None:
    assert metadata["Author"] == "The tinygrad_cnn developers"
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert urls == PROJECT["urls"]
    pythons = re.findall(r"Python :: (3\.\d+)", str(metadata.get_all("Classifier")))
    assert metadata["Requires-Python"] == f">={pythons[0]}"
    assert {"cli", "dev", "studio"} <= {*metadata.get_all("Provides-Extra", [])}


def test_the_core_needs_three_packages(metadata: Message) -> None:
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    names = {re.split(r"[<>=]", text)[0] for text in needed}
    assert names == {"numpy", "safetensors", "threadpoolctl"}


def test_the_readme_has_absolute_links_and_is_rendered(metadata: Message) -> None:
    text = str(metadata.get_payload())
    source = (ROOT / "README.md").read_text("utf-8")
    blocks = re.compile(r"```.*?```", re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", blocks.sub("", text))
    addresses = [link or picture for link, picture in links]
    assert len(addresses) > 20
    assert [one for one in addresses if not one.startswith(("https://", "#"))] == []
    base = PROJECT["urls"]["Source"]
    own = [one for one in addresses if one.startswith(base)]
    for address in own:
        path, _, _ = address.removeprefix(f"{base}/blob/v{__version__}/").partition("#")
        assert (ROOT / path).exists(), address
    assert blocks.findall(text) == blocks.findall(source)  # no program was changed
    renderer = pytest.importorskip("readme_renderer.markdown")
    html = renderer.render(text)
    assert html
    assert "<img" in html


def test_without_its_extra_the_command_line_says_how_to_install_it(tmp_path: Path) -> None:
    assert PROJECT["scripts"] == {"tinygrad-cnn": "tinygrad_cnn.__main__:main"}
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['typer'] = None")
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_cnn", "train"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the command line needs the module 'typer', which is not installed: "
        'pip install "tinygrad_cnn[cli]"\n'
    )


@pytest.mark.skipif(os.name != "posix", reason="runs a shell script")
@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("docs/changelog.md", f"## {__version__} (", "## 9.9.9 (", "begins with '## 9.9.9 ("),
        ("docs/changelog.md", "## ", "## Unreleased\n\n## ", "begins with '## Unreleased'"),
        ("README.md", f"version = {{{__version__}}}", "version = {9}", "cites another version"),
        ("README.md", "tinygrad_cnn", "tinygrad_cnn", f"has no tag v{__version__}: git tag"),
    ],
)
def test_a_release_that_does_not_fit_is_refused(
    tmp_path: Path, file: str, before: str, after: str, message: str
) -> None:
    for name in (
        ".ci/release",
        "docs/changelog.md",
        "README.md",
        "tinygrad_cnn/support/version.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    text = (tmp_path / file).read_text("utf-8")
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1), "utf-8")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["bash", ".ci/release"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
