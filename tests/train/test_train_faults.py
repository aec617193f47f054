"""What happens to a run when something is wrong with its files, or changes when it is resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stopping import Signal, default_signals, folder

import tinygrad_cnn as tg
from tinygrad_cnn.data import Split
from tinygrad_cnn.support.files import atomic_write
from tinygrad_cnn.support.lock import FileLock
from tinygrad_cnn.train import (
    Callback,
    Checkpoint,
    Progress,
    RunError,
    RunFolder,
    TrainingInterrupted,
    TrainingRun,
    load_run,
)
from tinygrad_cnn.train import checkpoint as module
from tinygrad_cnn.train.checkpoint import checkpoints
from tinygrad_cnn.train.state import read_state, write_state

Prepare = Callable[..., TrainingRun]
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals"),
    pytest.mark.usefixtures("interruptible"),
]


@pytest.fixture(scope="module")
def trained(few_file: str, net_file: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was interrupted in its second epoch: checkpoints of the steps 6 and 8."""
    from tinygrad_cnn.train import TrainingSettings

    settings = TrainingSettings(epochs=3, batch_size=16)
    run = folder(tmp_path_factory.mktemp("trained"))
    with default_signals(), pytest.raises(TrainingInterrupted):
        TrainingRun.new(few_file, net_file, settings).train(run, [Signal(8)])
    assert [module.steps_of(path) for path in run.checkpoints] == [6, 8]
    return run


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(trained.path, tmp_path / "run")))


def flipped(path: Path, share: float) -> None:
    contents = bytearray(path.read_bytes())
    contents[int(share * len(contents))] ^= 16
    path.write_bytes(contents)


def foreign(path: Path) -> None:
    state = read_state(path)
    state["parts"]["run"]["id"] = "0123456789abcdef"
    write_state(path, state)


def older(path: Path) -> None:
    shutil.copy(checkpoints(path.parent)[0], path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "is damaged, truncated"),
    "empty": (lambda p: p.write_bytes(b""), "is damaged, truncated"),
    "zeroed": (lambda p: p.write_bytes(bytes(p.stat().st_size)), "is damaged, truncated"),
    "flipped in the header": (lambda p: flipped(p, 0.01), "is damaged, truncated"),
    "flipped in the middle": (lambda p: flipped(p, 0.5), "is damaged, truncated"),
    "flipped at the end": (lambda p: flipped(p, 0.999), "is damaged, truncated"),
    "of another run": (foreign, "it is of another run, 0123456789abcdef"),
    "an older one's copy": (older, "it is of step 6; its name says 8"),
    "weights": (lambda p: shutil.copy(p.parent / "weights.safetensors", p), "arrays but no state"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "there is no such file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_bad_checkpoint_the_one_before_is_used_and_both_are_named(
    prepared: Prepare, run: RunFolder, damage: str, few: Split, tmp_path: Path
) -> None:
    whole = folder(tmp_path)
    prepared(augment="none").train(whole)
    change, says = DAMAGE[damage]
    before, newest = run.checkpoints
    change(newest)
    with pytest.warns(UserWarning, match="continues from the checkpoint before") as warned:
        resumed = TrainingRun.resumed(run)
    message = str(warned[0].message)
    assert all(text in message for text in (newest.name, says, before.name)), message
    assert len(resumed.history) == 1
    resumed.train(run)
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert newest.with_name(newest.name + ".unusable").exists()  # it is not ours to delete


@pytest.mark.parametrize("damage", DAMAGE)
def test_with_no_good_checkpoint_all_are_named_and_nothing_begins_again(
    run: RunFolder, damage: str
) -> None:
    if damage == "an older one's copy":
        run.checkpoints[0].write_bytes(run.checkpoints[1].read_bytes())
        run.checkpoints[1].write_bytes(b"")
    else:
        for path in run.checkpoints:
            DAMAGE[damage][0](path)
    with pytest.raises(RunError, match="There is no other checkpoint") as raised:
        TrainingRun.resumed(run)
    assert all(path.name in str(raised.value) for path in run.checkpoints)


def test_deleted_checkpoints_do_not_let_a_run_begin_again(run: RunFolder) -> None:
    run.checkpoints[-1].unlink()
    assert len(TrainingRun.resumed(run).history) == 1
    run.checkpoints[0].unlink()
    with pytest.raises(RunError, match="has settings but no checkpoint"):
        TrainingRun.resumed(run)


def test_a_run_that_was_killed_before_its_settings_were_written_is_resumed(run: RunFolder) -> None:
    settings = run.read_settings()
    run.settings.unlink()
    (run.path / "model.py").unlink()
    resumed = TrainingRun.resumed(run)
    assert resumed.settings == settings
    assert resumed.settings.id == settings.id
    assert resumed.batches_done == 2


def test_leftovers_of_a_killed_write_are_removed(run: RunFolder) -> None:
    leftover = run.path / f".{run.checkpoints[-1].name}.0123456789abcdef.tmp"
    leftover.write_bytes(b"half")
    TrainingRun.resumed(run).train(run)
    assert not leftover.exists()


def test_a_folder_with_another_runs_checkpoints_is_not_trained_in(
    prepared: Prepare, run: RunFolder
) -> None:
    with pytest.raises(RunError, match="has the checkpoints of a run; resume it, or choose"):
        prepared().train(run)


def test_a_forked_process_does_not_keep_a_lock(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; "
        "from tinygrad_cnn.support.lock import FileLock\n"
        "lock = FileLock(Path(sys.argv[1])); lock.acquire()\n"
        "if os.fork(): os._exit(0)\n"
        "print('alive', flush=True); signal.pause()"
    )
    root = Path(tg.__file__).parents[1]
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, start_new_session=True) as one:
        assert one.stdout is not None
        one.stdout.readline()
        one.wait()
        with FileLock(tmp_path / "lock"):
            pass
        os.killpg(one.pid, signal.SIGKILL)


def test_a_second_process_is_refused_and_a_killed_one_holds_no_lock(run: RunFolder) -> None:
    hold = (
        "import sys; from pathlib import Path; from tinygrad_cnn.support.lock import FileLock\n"
        f"with FileLock(Path({str(run.path / '.lock')!r})): print('held', flush=True); input()"
    )
    root = Path(tg.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", hold], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RunError, match=f"is being trained in already: .*{process.pid} on "):
            TrainingRun.resumed(run).train(run)
        assert run.steps == 8
        process.kill()
    assert (run.path / ".lock").exists()
    TrainingRun.resumed(run).train(run)


def test_a_run_that_another_process_has_trained_on_meanwhile_is_refused(run: RunFolder) -> None:
    late = TrainingRun.resumed(run)
    TrainingRun.resumed(run).train(run)
    with pytest.raises(RunError, match="has been trained on meanwhile, to step 18: resume again"):
        late.train(run)


def test_a_folder_with_later_checkpoints_is_not_written_to(run: RunFolder, few: Split) -> None:
    model = tg.nn.Linear(1, 1)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    checkpoint = Checkpoint(model, optimizer, folder=run.path)
    before = [path.read_bytes() for path in run.checkpoints]
    with checkpoint:
        checkpoint.steps = 7
        with pytest.raises(RunError, match=r"has a checkpoint of step 8, .* call restore\(\)"):
            checkpoint.save()
        checkpoint.steps = 9
    assert run.steps == 9
    assert run.checkpoints[0].read_bytes() == before[1]


@pytest.mark.parametrize("step", [7, 12])
def test_a_full_disk_ends_the_run_with_its_last_checkpoint(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole, broken = folder(tmp_path), folder(tmp_path)
    prepared(checkpoint_every=1).train(whole)
    write = write_state

    def full(path: Path, state: Any) -> None:
        if state["steps"] == step:
            with atomic_write(path) as file:
                file.write(b"a part")
                raise OSError(28, "No space left on device", str(path))
        write(path, state)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_state", full)
        with pytest.raises(OSError, match="No space left"):
            prepared(checkpoint_every=1).train(broken)
    assert broken.steps == step - 1
    assert not list(broken.path.glob(".*.tmp"))
    TrainingRun.resumed(broken).train(broken)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()


def test_a_second_ctrl_c_ends_at_once(prepared: Prepare, tmp_path: Path) -> None:
    run = folder(tmp_path)

    class Impatient(Callback):
        def batch(self, progress: Progress) -> None:
            if progress.batch == 3:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted):
        prepared().train(run, [Impatient()])
    assert run.steps == 0
    assert signal.getsignal(signal.SIGINT) is before


WITH_WORKERS = """
import os, signal, sys
import numpy as np
import tinygrad_cnn as tg
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.train import Checkpoint, TrainingInterrupted

if __name__ == "__main__":
    model = tg.nn.Linear(2, 1)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    x = np.ones((32, 2), np.float32)
    loader = DataLoader((x, x[:, :1]), 2, num_workers=2, multiprocessing_context=sys.argv[1])
    checkpoint = Checkpoint(model, optimizer, loader=loader, folder="run")
    try:
        with checkpoint:
            for inputs, targets in loader:
                tg.mse(model(inputs), targets).backward()
                optimizer.step()
                if checkpoint.steps == 4:
                    os.killpg(0, signal.SIGTERM)  # as `timeout` and batch systems do
                checkpoint.step()
    except TrainingInterrupted as error:
        print("interrupted after", checkpoint.steps)
"""


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_sigterm_to_the_workers_too_does_not_disturb_the_step(tmp_path: Path, context: str) -> None:
    (tmp_path / "program.py").write_text(WITH_WORKERS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py", context],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1])},
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "interrupted after 5\n"
    (path,) = checkpoints(tmp_path / "run")
    assert read_state(path)["parts"]["loader"] == {"epoch": 0, "batch": 5}


# --- resuming with changes -------------------------------------------------------------------


def test_more_epochs_spread_the_schedule_over_them(prepared: Prepare, tmp_path: Path) -> None:
    run = folder(tmp_path)
    with pytest.raises(TrainingInterrupted):
        prepared(schedule="cosine", lr=0.01).train(run, [Signal(9)])
    resumed = TrainingRun.resumed(run, epochs=6, checkpoint_every="1h")
    assert resumed.schedule is not None
    assert resumed.optimizer.lr == pytest.approx(0.01 * (1 + np.cos(np.pi * 9 / 36)) / 2)
    assert resumed.settings.changes == ({"epoch": 1, "epochs": [3, 6],
                                         "checkpoint_every": ["5m", "1h"]},)  # fmt: skip
    assert len(resumed.train(run)) == 6
    assert resumed.optimizer.lr == pytest.approx(0.0, abs=1e-12)
    told = run.read_settings()
    assert (told.training.epochs, told.changes) == (6, resumed.settings.changes)
    with pytest.raises(ValueError, match="epochs is 5, but 6 are done"):
        TrainingRun.resumed(run, epochs=5)


def test_a_change_is_not_forgotten_by_a_run_that_is_killed_at_once(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder(tmp_path)
    with pytest.raises(TrainingInterrupted):
        prepared(schedule="onecycle", lr=0.01).train(run, [Signal(9)])

    class Killed(Callback):
        def batch(self, progress: Progress) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        TrainingRun.resumed(run, epochs=6).train(run, [Killed()])
    resumed = TrainingRun.resumed(run)
    assert resumed.schedule is not None
    assert resumed.schedule.state_dict()["total_steps"] == 36


def test_data_that_have_moved_are_named_and_compared(
    run: RunFolder, few_file: str, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.npz"
    shutil.copy(few_file, moved)
    resumed = TrainingRun.resumed(run, source=str(moved))
    assert resumed.settings.data.source == str(moved)
    assert [*resumed.settings.changes[0]] == ["epoch", "source"]
    with np.load(few_file) as file:
        arrays = dict(file)
    np.savez(moved, **{**arrays, "y_train": arrays["y_train"][::-1]})
    with pytest.raises(RunError, match=r"moved\.npz has changed since the run"):
        TrainingRun.resumed(run, source=str(moved))


def test_a_complete_run_gets_what_is_missing(run: RunFolder) -> None:
    TrainingRun.resumed(run).train(run)
    expected = run.weights.read_bytes(), run.history.read_bytes()
    run.weights.unlink()
    run.history.unlink()
    complete = TrainingRun.resumed(run)
    assert complete.complete
    complete.train(run)
    assert (run.weights.read_bytes(), run.history.read_bytes()) == expected


def test_settings_of_a_later_version_are_read_and_the_unknown_fields_named(
    run: RunFolder,
) -> None:
    settings = json.loads(run.settings.read_text())
    settings |= {"format": 99, "colour": 1}
    settings["training"]["loss"] = "focal"
    run.settings.write_text(json.dumps(settings))
    with pytest.warns(UserWarning, match=r"left out: colour, training\.loss"):
        read = run.read_settings()
    assert read == replace(read, training=read.training)
    settings["training"]["epochs"] = None
    run.settings.write_text(json.dumps(settings))
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(RunError, match="epochs is None"),
    ):
        run.read_settings()


def test_what_is_saved_can_be_loaded_as_a_model_and_nothing_is_warned(run: RunFolder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_run(run.path)
